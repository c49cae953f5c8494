"""Certificates that change while the mesh serves, and files that can't be used."""

import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from prometheus_client.parser import text_string_to_metric_families
from trustme import CA, LeafCert

from made_certificates import Secret, leaf, serial_number
from mesh.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from processes import PATIENCE_S, Gateway, Process, until
from test_tls import CLASSIFY, connect, failure
from tls_mesh import TlsMesh, channel_as

EXPIRY = "mesh_tls_certificate_expiry_timestamp_seconds"
FAILURES = "mesh_tls_reload_failures_total"


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[TlsMesh]:
    # Where Redis is slow, that is not what is tested.
    with TlsMesh(tmp_path, MESH_GATEWAY_REDIS_TIMEOUT_S=10) as started:
        yield started


class Load:
    """Requests over kept and over new connections, by HTTP and gRPC; each must succeed."""

    def __init__(self, mesh: TlsMesh, *trusted: CA) -> None:
        self.answered = 0
        self.failures: list[object] = []
        self._mesh = mesh
        self._trusted = trusted
        self._ended = threading.Event()
        calls = (self._kept, self._new, self._by_grpc)
        self._threads = [threading.Thread(target=self._run, args=(call,)) for call in calls]

    def __enter__(self) -> "Load":
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for each in self._threads:
            each.join()

    def _run(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001  # whatever it is, the test shows it
            self.failures.append(error)

    def _ask(self, client: httpx.Client) -> None:
        answer = client.post(CLASSIFY, json={"texts": ["a text"]})
        if answer.status_code == 200:
            self.answered += 1
        else:
            self.failures.append((answer.status_code, answer.text))

    def _kept(self) -> None:
        with self._mesh.client(None, *self._trusted) as client:
            while not self._ended.is_set():
                self._ask(client)

    def _new(self) -> None:
        while not self._ended.is_set():
            with self._mesh.client(None, *self._trusted) as client:
                self._ask(client)

    def _by_grpc(self) -> None:
        with self._mesh.door_channel(*self._trusted) as channel:
            stub: Any = classifier_pb2_grpc.ClassifierServiceStub(channel)
            key = (("x-api-key", self._mesh.key.text),)
            while not self._ended.is_set():
                request = classifier_pb2.ClassifyRequest(texts=["grpc"])
                stub.Classify(request, timeout=PATIENCE_S, metadata=key)
                self.answered += 1

    def goes_on(self) -> None:
        reached = self.answered + 50
        until(lambda: self.answered >= reached or self.failures != [], "more answers")
        assert self.failures == []


def lines(process: Process, message: str) -> list[dict[str, Any]]:
    """What a process has logged with that message."""
    every = [json.loads(line) for line in process.log.split("\n")[:-1]]
    return [line for line in every if line["message"].startswith(message)]


def taken(process: Process, role: str) -> int:
    """How often a process took another certificate."""
    return sum(line["role"] == role for line in lines(process, "took another certificate"))


def metric(mesh: TlsMesh, name: str, role: str) -> float:
    parse: Any = text_string_to_metric_families
    (found,) = [
        sample.value
        for family in parse(mesh.gateway.metrics())
        for sample in family.samples
        if sample.name == name and sample.labels == {"mesh_tls_role": role}
    ]
    return float(found)


def shown_by_door(mesh: TlsMesh, *trusted: CA) -> int:
    with connect(mesh, mesh.context(*trusted)) as connection:
        found: Any = connection.getpeercert()
    return int(found["serialNumber"], 16)


def shown_by_grpc_door(mesh: TlsMesh) -> int:
    pem = ssl.get_server_certificate(("127.0.0.1", mesh.gateway.grpc_port))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def test_everything_changes_under_load(mesh: TlsMesh, tmp_path: Path) -> None:
    new_door, new_inner = CA(), CA()
    old = {name: leaf(mesh.inner_ca) for name in mesh.inner}
    new = {name: leaf(new_inner) for name in mesh.inner}
    new_shown = leaf(new_door)
    steps: list[tuple[dict[str, LeafCert], tuple[CA, ...]]] = [
        (old, (mesh.inner_ca, new_inner)),  # trust both
        (new, (mesh.inner_ca, new_inner)),  # show the new ones
        (new, (new_inner,)),  # trust the new one
    ]
    processes = {"gateway": mesh.gateway, "classifier": mesh.service, "counter": mesh.counter}
    with Load(mesh, mesh.door_ca, new_door) as load:
        load.goes_on()
        mesh.door.put(new_shown, new_door)
        for number, (certificates, trusted) in enumerate(steps, start=1):
            for name, secret in mesh.inner.items():
                secret.put(certificates[name], *trusted)
            for process in processes.values():
                until(lambda: taken(process, "internal") == number, "the change")  # noqa: B023  # asked only here
            load.goes_on()
        until(lambda: taken(mesh.gateway, "door") == 1, "the change of the door")
        assert shown_by_door(mesh, new_door) == serial_number(new_shown)
        assert shown_by_grpc_door(mesh) == serial_number(new_shown)
        load.goes_on()
    assert load.failures == []
    assert lines(mesh.gateway, "no connection to the replica") == []
    outdated = Secret.of(tmp_path / "outdated", old["gateway"], new_inner)
    assert failure(channel_as(outdated, mesh.service.port), mesh).code() is (
        grpc.StatusCode.UNAVAILABLE
    )
    # A new connection from the gateway: all that it shows and trusts is new.
    mesh.service.kill()
    mesh.service.start()
    mesh.gateway.context = mesh.context(new_door)
    until(lambda: mesh.backend_state() == "ready", "the service's readiness")
    with mesh.client(None, new_door) as client:
        assert client.post(CLASSIFY, json={"texts": ["a"]}).status_code == 200


def test_what_cannot_be_used_is_counted_and_the_old_one_stays(mesh: TlsMesh) -> None:
    before = shown_by_door(mesh)
    assert metric(mesh, FAILURES, "door") == 0
    ends = metric(mesh, EXPIRY, "door")
    mesh.door.put_files({"tls.crt": b"none", "tls.key": b"none"})
    until(lambda: metric(mesh, FAILURES, "door") == 1, "the failure")
    (warning,) = lines(mesh.gateway, "the change of a certificate is not used")
    assert f"MESH_GATEWAY_TLS_CERTIFICATE_PATH={mesh.door.certificate}" in warning["message"]
    assert (warning["level"], warning["role"]) == ("WARNING", "door")
    assert shown_by_door(mesh) == before
    assert metric(mesh, EXPIRY, "door") == ends
    fresh = leaf(mesh.door_ca)
    mesh.door.put(fresh, mesh.door_ca)
    until(lambda: shown_by_door(mesh) == serial_number(fresh), "the next certificate")
    assert metric(mesh, FAILURES, "door") == 1
    assert metric(mesh, FAILURES, "internal") == 0


@contextmanager
def started(folder: Path, **settings: object) -> Iterator[Gateway]:
    gateway = Gateway(
        folder,
        redis_url="redis://127.0.0.1:1",
        target="127.0.0.1:1",
        hashing_key=folder / "hashing.key",
        **settings,
    ).launch()
    try:
        yield gateway
    finally:
        gateway.kill()


def said_by(folder: Path, **settings: object) -> str:
    """What a gateway says that can't start."""
    with started(folder, **settings) as gateway:
        assert gateway.wait() == 2
        return gateway.log.splitlines()[-1]


def small_pair() -> dict[str, bytes]:
    """The files of a certificate whose key is easy to break."""
    key = rsa.generate_private_key(65537, 1024)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    form = PrivateFormat.PKCS8
    return {
        "tls.crt": made.public_bytes(Encoding.PEM),
        "tls.key": key.private_bytes(Encoding.PEM, form, NoEncryption()),
    }


class TestFaultsAtStart:
    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        ca = CA()
        secret = Secret.of(tmp_path / "tls", leaf(ca), ca)
        said = said_by(
            tmp_path,
            MESH_GATEWAY_TLS_CERTIFICATE_PATH=secret.certificate,
            MESH_GATEWAY_TLS_KEY_PATH=tmp_path / "none",
        )
        assert said == (
            f"MESH_GATEWAY_TLS_KEY_PATH={tmp_path / 'none'}: No such file or directory; mount the "
            "secret there, readable for this process, or set another path"
        )

    def test_half_a_pair(self, tmp_path: Path) -> None:
        said = said_by(tmp_path, MESH_GATEWAY_TLS_CERTIFICATE_PATH="/tls/tls.crt")
        assert re.search(
            "MESH_GATEWAY_TLS_KEY_PATH.*must be set where tls_certificate_path is", said
        )

    def test_a_part_of_what_is_needed_inside(self, tmp_path: Path) -> None:
        said = said_by(tmp_path, MESH_INTERNAL_TLS_CA_PATH="/tls/ca.crt")
        assert (
            "set MESH_INTERNAL_TLS_CERTIFICATE_PATH and MESH_INTERNAL_TLS_KEY_PATH too, or none "
            "of them"
        ) in said

    def test_a_key_that_is_too_small_for_the_door(self, tmp_path: Path) -> None:
        secret = Secret.of(tmp_path / "tls", leaf(CA()), CA())
        secret.put_files(small_pair())
        said = said_by(
            tmp_path,
            MESH_GATEWAY_TLS_CERTIFICATE_PATH=secret.certificate,
            MESH_GATEWAY_TLS_KEY_PATH=secret.key,
        )
        assert "can't be served" in said
        assert "RSA key of 2048 bits or more" in said
