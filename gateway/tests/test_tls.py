"""TLS at the door, and between the gateway and its services."""

import json
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import grpc
import pytest
from trustme import CA

from counter_gateway import PATH
from made_certificates import leaf
from mesh.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from processes import PATIENCE_S, until
from raw_http import answers, keyed, rest
from tls_mesh import TlsMesh, channel_as

CLASSIFY = "/v1/classify"
MOST_BYTES = 12 * 2**20


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsMesh]:
    settings = {"MESH_GATEWAY_HEADER_TIMEOUT_S": 2, "MESH_MAX_MESSAGE_BYTES": MOST_BYTES}
    with TlsMesh(tmp_path_factory.mktemp("tls"), **settings) as started:
        yield started


def connect(mesh: TlsMesh, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", mesh.gateway.port), PATIENCE_S)
    try:
        return (context or mesh.context()).wrap_socket(plain, server_hostname="localhost")
    except BaseException:
        plain.close()
        raise


def ask(mesh: TlsMesh, text: str) -> str:
    with mesh.client() as client:
        answer = client.post(CLASSIFY, json={"texts": [text]})
    assert answer.status_code == 200
    return str(answer.json()["results"][0]["label"])


def classify(channel: grpc.Channel, mesh: TlsMesh, text: str) -> str:
    stub: Any = classifier_pb2_grpc.ClassifierServiceStub(channel)
    response = stub.Classify(
        classifier_pb2.ClassifyRequest(texts=[text]),
        timeout=PATIENCE_S,
        metadata=(("x-api-key", mesh.key.text),),
    )
    return str(response.results[0].classification.label)


def failure(channel: grpc.Channel, mesh: TlsMesh) -> Any:
    with channel, pytest.raises(grpc.RpcError) as caught:
        classify(channel, mesh, "a text")
    return caught.value


class TestHttp:
    def test_a_call(self, mesh: TlsMesh) -> None:
        assert ask(mesh, "a text") == "a text"
        assert 'url_scheme="https"' in mesh.gateway.metrics()

    def test_a_connection_is_used_again(self, mesh: TlsMesh) -> None:
        connection = mesh.gateway.connection()
        used = set()
        with closing(connection):
            for path in ("/health", "/unknown", CLASSIFY, "/health"):
                connection.request("GET", path)
                connection.getresponse().read()
                assert connection.sock is not None
                used.add(connection.sock.getsockname())
        assert len(used) == 1

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_versions_that_are_spoken(self, mesh: TlsMesh, version: ssl.TLSVersion) -> None:
        context = mesh.context()
        context.minimum_version = context.maximum_version = version
        with connect(mesh, context) as connection:
            assert connection.version() == version.name.replace("_", ".")
            cipher = connection.cipher()
            assert cipher is not None
            assert "GCM" in cipher[0] or "CHACHA20" in cipher[0]

    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
    def test_older_ones_are_not(self, mesh: TlsMesh) -> None:
        context = mesh.context()
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises(ssl.SSLError):  # asyncio hangs up without an alert
            connect(mesh, context)

    @pytest.mark.parametrize(
        ("offered", "chosen"), [(["h2", "http/1.1"], "http/1.1"), (["h2"], None), ([], None)]
    )
    def test_what_is_spoken_over_it(
        self, mesh: TlsMesh, offered: list[str], chosen: str | None
    ) -> None:
        context = mesh.context()
        if offered:
            context.set_alpn_protocols(offered)
        with connect(mesh, context) as connection:
            assert connection.selected_alpn_protocol() == chosen

    @pytest.mark.parametrize("sends_name", [True, False])
    def test_a_handshake_needs_no_name(self, mesh: TlsMesh, sends_name: bool) -> None:
        context = mesh.context()
        context.check_hostname = False
        plain = socket.create_connection(("127.0.0.1", mesh.gateway.port), PATIENCE_S)
        with context.wrap_socket(plain, server_hostname="localhost" if sends_name else None) as it:
            assert it.getpeercert() != {}

    def test_another_authority_is_not_trusted(self, mesh: TlsMesh) -> None:
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(mesh, mesh.context(CA()))
        assert ask(mesh, "still served") == "still served"

    @pytest.mark.parametrize(
        "sent",
        [
            b"GET /health HTTP/1.1\r\nhost: mesh\r\n\r\n",
            b"\x16\x03\x01\xff\xff" + b"x" * 70_000,
            b"\x00" * 100,
        ],
    )
    def test_what_is_not_tls(self, mesh: TlsMesh, sent: bytes) -> None:
        with socket.create_connection(("127.0.0.1", mesh.gateway.port), PATIENCE_S) as plain:
            with suppress(ConnectionError):
                plain.sendall(sent)
            assert len(rest(plain)) < 100  # an alert at most
        assert ask(mesh, "still served") == "still served"

    def test_a_handshake_that_stalls(self, mesh: TlsMesh) -> None:
        with socket.create_connection(("127.0.0.1", mesh.gateway.port), PATIENCE_S) as plain:
            plain.sendall(b"\x16\x03\x01")
            assert rest(plain) == b""

    def test_a_head_that_does_not_come(self, mesh: TlsMesh) -> None:
        with connect(mesh) as connection:
            assert connection.recv(1) == b""

    def test_a_body_over_the_limit(self, mesh: TlsMesh) -> None:
        with mesh.client() as client:
            answer = client.post(CLASSIFY, content=b"x" * (MOST_BYTES + 1))
            assert (answer.status_code, answer.json()["reason"]) == (413, "PAYLOAD_TOO_LARGE")

    @pytest.mark.parametrize(
        ("sent", "status"),
        [
            (b"nonsense\r\n\r\n", 400),
            (b"GET /health HTTP/1.1\r\nx: " + b"a" * 5_000_000, 431),
        ],
    )
    def test_what_is_refused_is_answered_whole(
        self, mesh: TlsMesh, sent: bytes, status: int
    ) -> None:
        with connect(mesh) as connection:
            with suppress(ConnectionError):
                connection.sendall(sent)
            ((found, body),) = answers(rest(connection))
        assert found == status
        assert json.loads(body)["status"] == status

    def test_many_requests_at_once(self, mesh: TlsMesh) -> None:
        with connect(mesh) as connection:
            closing_one = keyed(mesh, b"connection: close")
            connection.sendall(keyed(mesh) * 20 + closing_one)
            assert [status for status, _ in answers(rest(connection))] == [200] * 21

    def test_a_caller_that_leaves_cancels_its_work(self, mesh: TlsMesh) -> None:
        cancelled = mesh.service.counts().get("cancelled", 0)
        begun = mesh.service.counts().get("begun", 0)
        with connect(mesh) as connection:
            connection.sendall(keyed(mesh, body=b'{"texts": ["wait"]}'))
            until(lambda: mesh.service.counts()["begun"] == begun + 1, "the work's beginning")
        until(lambda: mesh.service.counts().get("cancelled") == cancelled + 1, "the cancellation")
        until(mesh.gateway.at_rest, "rest")

    def test_a_large_answer_to_who_reads_slowly(self, mesh: TlsMesh) -> None:
        wanted = 8_000_000  # the kernel takes half of it
        body = json.dumps({"texts": [f"a label of {wanted} letters"]}).encode()
        with socket.socket() as plain:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
            plain.settimeout(PATIENCE_S)
            plain.connect(("127.0.0.1", mesh.gateway.port))
            with mesh.context().wrap_socket(plain, server_hostname="localhost") as connection:
                connection.sendall(keyed(mesh, b"connection: close", body=body))
                received = connection.recv(1000)
                # Longer than a farewell is waited for: what matters is that time goes by.
                time.sleep(2.5)
                received += rest(connection)
        ((status, answer),) = answers(received)
        assert status == 200
        assert len(json.loads(answer)["results"][0]["label"]) == wanted

    def test_idle_connections_take_little_memory(self, mesh: TlsMesh) -> None:
        with ExitStack() as stack:

            def opened(number: int) -> float:
                """Opens idle connections, and returns the memory of the gateway in KiB."""
                for _ in range(number):
                    connection = stack.enter_context(connect(mesh))
                    connection.sendall(b"GET /health HTTP/1.1\r\nhost: mesh\r\n\r\n")
                    assert connection.recv(9) == b"HTTP/1.1 "
                return mesh.gateway.rss_kib()

            before = opened(50)
            assert (opened(200) - before) / 200 < 128

    def test_events(self, mesh: TlsMesh) -> None:
        with mesh.client() as client:
            answer = client.post(PATH, json={"wish": "3"})
        assert answer.text.split("\n\n") == [f'data: "{n}"' for n in (0, 1, 2, "end")] + [""]

    def test_events_come_as_they_are_made_and_end_with_their_caller(self, mesh: TlsMesh) -> None:
        with connect(mesh) as connection:
            line = b"POST /v1/count HTTP/1.1"
            request = keyed(mesh, body=b'{"wish": "2 wait"}')
            connection.sendall(request.replace(b"POST /v1/classify HTTP/1.1", line))
            received = b""
            while b'data: "1"' not in received:
                received += connection.recv(1000)
            assert mesh.counter.counts()["open"] == 1
        until(mesh.at_rest, "rest after the caller has left")

    def test_a_caller_that_reads_nothing_holds_back_the_stream(self, mesh: TlsMesh) -> None:
        with connect(mesh) as connection:
            request = keyed(mesh, body=b'{"wish": "for ever"}')
            connection.sendall(request.replace(b"/v1/classify", b"/v1/count"))
            until(lambda: mesh.counter.counts().get("made", 0) > 0, "the first message")
            until(mesh.stands_still, "the stream's stand-still")
        until(mesh.at_rest, "rest after the caller has left")


class TestGrpc:
    def test_a_call(self, mesh: TlsMesh) -> None:
        with mesh.door_channel() as channel:
            assert classify(channel, mesh, "a text") == "a text"

    def test_who_trusts_another_authority_or_none(self, mesh: TlsMesh) -> None:
        assert failure(mesh.door_channel(CA()), mesh).code() is grpc.StatusCode.UNAVAILABLE
        plain = grpc.insecure_channel(mesh.gateway.address)
        assert failure(plain, mesh).code() is grpc.StatusCode.UNAVAILABLE
        with mesh.door_channel() as channel:
            assert classify(channel, mesh, "still served") == "still served"

    def test_a_caller_that_leaves_cancels_its_work(self, mesh: TlsMesh) -> None:
        cancelled = mesh.service.counts().get("cancelled", 0)
        begun = mesh.service.counts().get("begun", 0)
        with mesh.door_channel() as channel:
            stub: Any = classifier_pb2_grpc.ClassifierServiceStub(channel)
            call = stub.Classify.future(
                classifier_pb2.ClassifyRequest(texts=["wait"]),
                timeout=PATIENCE_S,
                metadata=(("x-api-key", mesh.key.text),),
            )
            until(lambda: mesh.service.counts()["begun"] == begun + 1, "the work's beginning")
            call.cancel()
        until(lambda: mesh.service.counts().get("cancelled") == cancelled + 1, "the cancellation")


class TestInside:
    def test_strangers_reach_no_service(self, mesh: TlsMesh) -> None:
        port = mesh.service.port
        plain = grpc.insecure_channel(f"127.0.0.1:{port}")
        assert failure(plain, mesh).code() is grpc.StatusCode.UNAVAILABLE
        nameless = grpc.ssl_channel_credentials(mesh.inner["gateway"].ca.read_bytes())
        channel = grpc.secure_channel(f"localhost:{port}", nameless)
        assert failure(channel, mesh).code() is grpc.StatusCode.UNAVAILABLE

    def test_a_certificate_of_the_door_is_none_inside(self, mesh: TlsMesh) -> None:
        credentials = grpc.ssl_channel_credentials(
            mesh.inner["gateway"].ca.read_bytes(),
            mesh.door.key.read_bytes(),
            mesh.door.certificate.read_bytes(),
        )
        channel = grpc.secure_channel(f"localhost:{mesh.service.port}", credentials)
        assert failure(channel, mesh).code() is grpc.StatusCode.UNAVAILABLE

    def test_a_holder_reaches_it(self, mesh: TlsMesh) -> None:
        with channel_as(mesh.inner["gateway"], mesh.service.port) as channel:
            assert classify(channel, mesh, "a text") == "a text"


class TestDrain:
    def test_it_finishes_what_is_in_flight_and_waits_for_no_idle_caller(
        self, tmp_path: Path
    ) -> None:
        with TlsMesh(tmp_path, MESH_DRAIN_TIMEOUT_S=600) as mesh, connect(mesh) as idle:
            idle.sendall(b"GET /health HTTP/1.1\r\nhost: mesh\r\n\r\n")
            assert idle.recv(9) == b"HTTP/1.1 "  # from now on it reads nothing
            connection: HTTPSConnection = mesh.gateway.connection()
            headers = {"x-api-key": mesh.key.text, "x-request-timeout-ms": "2000"}
            with closing(connection):
                connection.request("POST", CLASSIFY, json.dumps({"texts": ["wait"]}), headers)
                until(lambda: mesh.service.counts().get("begun") == 1, "the work's beginning")
                mesh.gateway.signal(signal.SIGTERM)
                response = connection.getresponse()
                assert response.status == 504  # what it would have been without the drain
                assert response.getheader("connection") == "close"
                response.read()
            assert mesh.gateway.wait() == 0
            assert "drained" in mesh.gateway.log


def test_a_certificate_for_another_name_is_not_used(tmp_path: Path) -> None:
    with TlsMesh(tmp_path) as mesh:
        mesh.service.kill()
        mesh.inner["classifier"].put(leaf(mesh.inner_ca, "another.name"), mesh.inner_ca)
        mesh.service.start()
        what = "no connection to the replica by TLS"
        until(lambda: what in mesh.gateway.log, "the warning")
        assert "Hostname Verification Check failed" in mesh.gateway.log
        with mesh.client() as client:
            answer = client.post(CLASSIFY, json={"texts": ["a"]})
        assert (answer.status_code, answer.json()["reason"]) == (503, "UNAVAILABLE")
