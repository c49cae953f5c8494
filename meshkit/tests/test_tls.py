"""Mutual TLS between a client and replicas, on real sockets with files that change."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from trustme import CA, LeafCert

from conftest import CLASSIFY, Replica, StartReplica, labels, request, until
from made_certificates import Secret, bundle, expired, leaf, serial_number
from mesh.classifier.v1 import classifier_pb2_grpc
from meshkit import channels, deadline, endpoints, names, tls
from meshkit.certificates import Files, PemFile
from meshkit.client import Client
from meshkit.deadline import Deadline
from meshkit.errors import StartError, Unavailable
from meshkit.tls import Certificate

LIMIT = 4 * 2**20
FEW_S = 0.05


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "LOOK_EVERY_S", FEW_S)
    monkeypatch.setattr(endpoints, "RESOLVE_EVERY_S", FEW_S)


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA()


MakeSecret = Callable[..., Secret]


@pytest.fixture
def make_secret(tmp_path: Path) -> MakeSecret:
    def make(name: str, certificate: LeafCert, *trusted: CA) -> Secret:
        return Secret.of(tmp_path / name, certificate, *trusted)

    return make


def certificate(secret: Secret) -> Certificate:
    files = Files(
        PemFile("MESH_INTERNAL_TLS_CERTIFICATE_PATH", secret.certificate),
        PemFile("MESH_INTERNAL_TLS_KEY_PATH", secret.key),
        PemFile("MESH_INTERNAL_TLS_CA_PATH", secret.ca),
    )
    return Certificate(names.TlsRole.INTERNAL, files)


def client(secret: Secret, target: str) -> Client:
    return Client("classifier", target, max_message_bytes=LIMIT, certificate=certificate(secret))


async def classify(client: Client, text: str) -> str:
    stub = client.stub(classifier_pb2_grpc.ClassifierServiceStub)
    with deadline.scope(Deadline.after(30)):
        return labels(await stub.Classify(request(text)))[0]


async def shown(replica: Replica, secret: Secret) -> int:
    """The serial number of the certificate that a replica shows to whoever has this one."""
    context = ssl.create_default_context(cafile=str(secret.ca))
    context.load_cert_chain(secret.certificate, secret.key)
    _, writer = await asyncio.open_connection(
        "127.0.0.1", replica.port, ssl=context, server_hostname="localhost"
    )
    found: Any = writer.get_extra_info("peercert")
    writer.close()
    return int(found["serialNumber"], 16)


async def refused(replica: Replica, secret: Secret) -> str:
    """Why a caller with that certificate is refused, by a channel of its own."""
    credentials = grpc.ssl_channel_credentials(
        secret.ca.read_bytes(), secret.key.read_bytes(), secret.certificate.read_bytes()
    )
    return await unavailable(grpc.aio.secure_channel(f"localhost:{replica.port}", credentials))


async def unavailable(channel: grpc.aio.Channel) -> str:
    async with channel:
        call: Any = channel.unary_unary(f"/{CLASSIFY}")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"", timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    return caught.value.details() or ""


def warnings_of(caplog: pytest.LogCaptureFixture, what: str) -> list[str]:
    found = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    return [message for message in found if what in message]


async def test_calls_pass_between_holders_of_certificates(
    start_replica: StartReplica, make_secret: MakeSecret, ca: CA
) -> None:
    replica = await start_replica(**make_secret("service", leaf(ca), ca).settings())
    secret = make_secret("caller", leaf(ca, "gateway"), ca)
    async with client(secret, f"dns:///localhost:{replica.port}") as calling:
        await until(lambda: calling.serving)
        assert await classify(calling, "a text") == "a text"
        long = "x" * 300_000  # a call of its own
        assert await classify(calling, long) == long


async def test_an_address_must_be_in_the_certificate_too(
    start_replica: StartReplica, make_secret: MakeSecret, ca: CA
) -> None:
    replica = await start_replica(**make_secret("service", leaf(ca), ca).settings())
    async with client(make_secret("caller", leaf(ca), ca), replica.address) as calling:
        assert await classify(calling, "a text") == "a text"


async def test_an_address_of_ipv6(
    start_replica: StartReplica, make_secret: MakeSecret, ca: CA
) -> None:
    secret = make_secret("both", leaf(ca), ca)
    replica = await start_replica(bind_address="[::1]", **secret.settings())
    async with client(secret, f"[::1]:{replica.port}") as calling:
        assert await classify(calling, "a text") == "a text"


async def test_a_caller_that_leaves_cancels_the_work(
    start_replica: StartReplica, make_secret: MakeSecret, ca: CA
) -> None:
    secret = make_secret("both", leaf(ca), ca)
    replica = await start_replica(**secret.settings())
    async with client(secret, replica.address) as calling:
        leaving = asyncio.create_task(classify(calling, "wait"))
        await replica.echo.begun.acquire()
        leaving.cancel()
        async with asyncio.timeout(10):
            await replica.echo.cancelled.acquire()


async def test_strangers_are_refused_and_the_others_are_served(
    start_replica: StartReplica, make_secret: MakeSecret, ca: CA
) -> None:
    secret = make_secret("both", leaf(ca), ca)
    replica = await start_replica(**secret.settings())
    async with client(secret, replica.address) as calling:
        await until(lambda: calling.serving)
        plain = grpc.aio.insecure_channel(replica.address)
        assert "127.0.0.1" in await unavailable(plain)
        nameless = grpc.ssl_channel_credentials(bundle(ca))
        await unavailable(grpc.aio.secure_channel(f"localhost:{replica.port}", nameless))
        other = CA()
        await refused(replica, make_secret("stranger", leaf(other), ca))
        said = await refused(replica, make_secret("distrustful", leaf(ca), other))
        assert "CERTIFICATE_VERIFY_FAILED" in said
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 70_000):
            reader, writer = await asyncio.open_connection("127.0.0.1", replica.port)
            writer.write(garbage)
            async with asyncio.timeout(30):
                assert len(await _rest(reader)) < 100  # at most an alert
            writer.close()
        assert await classify(calling, "still served") == "still served"


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def test_a_handshake_that_stalls_is_dropped(
    start_replica: StartReplica,
    make_secret: MakeSecret,
    ca: CA,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(channels, "_HANDSHAKE_MS", 200)
    replica = await start_replica(**make_secret("both", leaf(ca), ca).settings())
    reader, writer = await asyncio.open_connection("127.0.0.1", replica.port)
    writer.write(b"\x16\x03\x01")
    async with asyncio.timeout(30):
        await _rest(reader)
    writer.close()


@pytest.mark.parametrize(
    "fault", ["another name", "expired", "another authority", "no TLS", "this caller"]
)
async def test_a_replica_that_is_not_trusted_is_not_used(
    start_replica: StartReplica,
    make_secret: MakeSecret,
    ca: CA,
    caplog: pytest.LogCaptureFixture,
    fault: str,
) -> None:
    caplog.set_level("WARNING")
    settings: dict[str, str] = {}
    if fault == "another name":
        settings = make_secret("service", leaf(ca, "another.name"), ca).settings()
    elif fault == "expired":
        settings = make_secret("service", expired(ca), ca).settings()
    elif fault == "another authority":
        settings = make_secret("service", leaf(CA()), ca).settings()
    elif fault == "this caller":
        settings = make_secret("service", leaf(ca), ca).settings()
    replica = await start_replica(**settings)
    secret = make_secret("caller", leaf(CA() if fault == "this caller" else ca), ca)
    what = "no connection to the replica by TLS"
    async with client(secret, f"dns:///localhost:{replica.port}") as calling:
        await until(lambda: warnings_of(caplog, what) != [])
        with pytest.raises(Unavailable, match="no replica of classifier is serving"):
            await classify(calling, "a text")
        said = warnings_of(caplog, what)[0]
    reasons = {
        "another name": "Hostname Verification Check failed",
        "expired": "certificate has expired",
        "another authority": "CERTIFICATE_VERIFY_FAILED",
        "no TLS": "WRONG_VERSION_NUMBER",
        "this caller": "Socket closed",
    }
    assert reasons[fault] in said


async def test_a_replica_without_its_files_does_not_start(
    start_replica: StartReplica, make_secret: MakeSecret, ca: CA
) -> None:
    secret = make_secret("service", leaf(ca), ca)
    secret.key.unlink()
    said = f"MESH_INTERNAL_TLS_KEY_PATH={secret.key}: No such file or directory"
    with pytest.raises(StartError, match=re.escape(said)):
        await start_replica(**secret.settings())


class Load:
    """Calls one after another until it is ended; any failure fails the test."""

    def __init__(self, calling: Client) -> None:
        self.answered = 0
        self._client = calling
        self._ended = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(self._call(text)) for text in ("a", "x" * 300_000)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ended.set()
        await asyncio.gather(*self._tasks)

    async def _call(self, text: str) -> None:
        while not self._ended.is_set():
            assert await classify(self._client, text) == text
            self.answered += 1

    async def goes_on(self) -> None:
        reached = self.answered + 20
        await until(lambda: self.answered >= reached or any(each.done() for each in self._tasks))


def open_to(calling: Client, certificate: LeafCert) -> bool:
    """Whether all channels of a client were opened with that certificate."""
    wanted = serial_number(certificate)
    every = calling.endpoints.all
    return all(each.identity and each.identity.serial_number == wanted for each in every)


async def test_everything_changes_while_calls_are_made(
    start_replica: StartReplica, make_secret: MakeSecret, ca: CA
) -> None:
    new_ca = CA()
    old, new = leaf(ca), leaf(new_ca)
    service, caller = make_secret("service", old, ca), make_secret("caller", old, ca)
    replica = await start_replica(**service.settings())
    own = certificate(caller)
    calling = Client("classifier", replica.address, max_message_bytes=LIMIT, certificate=own)
    following = asyncio.create_task(own.watch())
    async with calling:
        await until(lambda: calling.serving)
        held = asyncio.create_task(classify(calling, "wait"))
        async with Load(calling) as load:
            # As docs/tls.md has it: trust both, then change certificates, then trust the new one.
            for step in (
                lambda: (old, ca, new_ca),
                lambda: (new, ca, new_ca),
                lambda: (new, new_ca),
            ):
                service.put(*step())
                await load.goes_on()
                caller.put(*step())
                wanted = bundle(*step()[1:])
                await until(lambda: own.identity.contents.ca == wanted)  # noqa: B023  # asked only here
                await until(lambda: _renewed(calling, own))
                await load.goes_on()
            assert await shown(replica, caller) == serial_number(new)
            assert open_to(calling, new)
            await refused(replica, make_secret("old caller", old, ca, new_ca))
        replica.echo.proceed.set()
        assert await held == "wait"  # over the channel of the very first certificate
        await until(lambda: calling.endpoints.outstanding()[0] == 0)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


def _renewed(calling: Client, own: Certificate) -> bool:
    return all(each.identity is own.identity for each in calling.endpoints.all)


async def test_a_replica_that_changes_later_is_called_over_the_old_channel(
    start_replica: StartReplica, make_secret: MakeSecret, ca: CA, caplog: pytest.LogCaptureFixture
) -> None:
    other = CA()
    old, new = leaf(ca), leaf(other)
    service, caller = make_secret("service", old, ca), make_secret("caller", old, ca)
    replica = await start_replica(**service.settings())
    own = certificate(caller)
    calling = Client("classifier", replica.address, max_message_bytes=LIMIT, certificate=own)
    async with calling:
        await until(lambda: calling.serving)
        async with Load(calling) as load:
            caller.put(new, other)
            own.look()
            await until(lambda: warnings_of(caplog, "no connection to the replica by TLS") != [])
            await load.goes_on()
            assert open_to(calling, old)
            service.put(new, other)
            await until(lambda: open_to(calling, new))
            await load.goes_on()
