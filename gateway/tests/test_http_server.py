"""The HTTP server on raw sockets: limits, malformed requests, and the drain."""

import contextlib
import http.client
import json
import re
import signal
import socket
from pathlib import Path

import pytest

from mesh_gateway.http_server import listen
from ports import free_port
from processes import PATIENCE_S, Gateway, Mesh, until

MOST_HEAD_BYTES = 32 * 1024
CLASSIFY = "/v1/classify"


def exchange(mesh: Mesh, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Sends bytes until the server answers and closes; its status, headers and body."""
    with socket.create_connection(("127.0.0.1", mesh.gateway.port), PATIENCE_S) as connection:
        # It may answer and close before all is sent.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(request)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


def refused(mesh: Mesh, request: bytes, reason: str) -> int:
    status, headers, body = exchange(mesh, request)
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    problem = json.loads(body)
    assert problem["reason"] == reason
    assert problem["request_id"] == headers["x-request-id"]
    assert problem["status"] == status
    return status


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost mesh\r\n\r\n",
        b"POST /v1/classify HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /v1/classify HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the beginning of TLS
    ],
)
def test_what_is_not_http(mesh: Mesh, request_bytes: bytes) -> None:
    assert refused(mesh, request_bytes, "MALFORMED_HTTP") == 400


def head(size: int) -> bytes:
    """A request whose line and headers come to that many bytes, as the server counts them."""
    fixed = b"GET /health HTTP/1.1\r\nhost: mesh\r\nconnection: close\r\nx: %b\r\n\r\n"
    counted = len("/health") + len("hostmesh") + len("connectionclose") + len("x") + 3 * 32
    return fixed % (b"a" * (size - counted))


def test_headers_at_their_limit(mesh: Mesh) -> None:
    assert exchange(mesh, head(MOST_HEAD_BYTES))[0] == 200


def test_headers_over_their_limit(mesh: Mesh) -> None:
    assert refused(mesh, head(MOST_HEAD_BYTES + 1), "HEADERS_TOO_LARGE") == 431


def test_headers_without_an_end(mesh: Mesh) -> None:
    endless = b"GET /health HTTP/1.1\r\nx: " + b"a" * 20_000_000
    assert refused(mesh, endless, "HEADERS_TOO_LARGE") == 431


def test_many_small_headers(mesh: Mesh) -> None:
    many = b"GET /health HTTP/1.1\r\n" + b"a:b\r\n" * 1000 + b"\r\n"
    assert refused(mesh, many, "HEADERS_TOO_LARGE") == 431


def test_a_path_over_the_limit(mesh: Mesh) -> None:
    long = b"GET /" + b"a" * MOST_HEAD_BYTES + b" HTTP/1.1\r\n\r\n"
    assert refused(mesh, long, "HEADERS_TOO_LARGE") == 431


def test_a_head_that_begins_in_the_last_bytes_of_a_body(mesh: Mesh) -> None:
    body = json.dumps({"texts": ["a" * 200_000]}).encode()
    request = (
        f"POST {CLASSIFY} HTTP/1.1\r\nhost: mesh\r\nx-api-key: {mesh.key.text}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body
    with socket.create_connection(("127.0.0.1", mesh.gateway.port), PATIENCE_S) as connection:
        connection.sendall(request + b"GET /heal")
        first = http.client.HTTPResponse(connection)
        first.begin()
        assert first.status == 400  # over 64 KiB
        first.read()
        connection.sendall(b"th HTTP/1.1\r\nhost: mesh\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\nhost"])
def test_a_head_that_does_not_come(tmp_path: Path, sent: bytes) -> None:
    with Mesh(tmp_path, MESH_GATEWAY_HEADER_TIMEOUT_S=1) as mesh:
        with socket.create_connection(("127.0.0.1", mesh.gateway.port), PATIENCE_S) as connection:
            connection.sendall(sent)
            assert connection.recv(1024) == b""
        assert 'mesh_refusal="HEADERS_LATE"' in mesh.gateway.metrics()


def test_what_is_slow_behind_the_headers_is_the_deadlines_business(tmp_path: Path) -> None:
    with Mesh(tmp_path, MESH_GATEWAY_HEADER_TIMEOUT_S=1) as mesh:
        connection = waiting(mesh, 3000)
        assert connection.getresponse().status == 504
        connection.close()


def test_a_connection_is_used_again(mesh: Mesh) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", mesh.gateway.port, timeout=PATIENCE_S)
    for path in ("/health", "/unknown", CLASSIFY, "/health"):
        connection.request("GET", path)
        connection.getresponse().read()
        assert connection.sock is not None
        used = connection.sock.getsockname()
    assert connection.sock.getsockname() == used
    connection.close()


def waiting(mesh: Mesh, timeout_ms: int) -> http.client.HTTPConnection:
    """A connection whose request waits until its deadline."""
    connection = http.client.HTTPConnection("127.0.0.1", mesh.gateway.port, timeout=PATIENCE_S)
    connection.request(
        "POST",
        CLASSIFY,
        json.dumps({"texts": ["wait"]}),
        {
            "authorization": f"Bearer {mesh.key.text}",
            "content-type": "application/json",
            "x-request-timeout-ms": str(timeout_ms),
        },
    )
    until(lambda: mesh.service.counts().get("begun", 0) > 0, "the work's beginning")
    return connection


def test_a_drain_finishes_what_is_in_flight(own_mesh: Mesh) -> None:
    idle = socket.create_connection(("127.0.0.1", own_mesh.gateway.port), PATIENCE_S)
    connection = waiting(own_mesh, 2000)
    own_mesh.gateway.signal(signal.SIGTERM)
    response = connection.getresponse()
    assert response.status == 504  # what it would have been without the drain
    assert response.getheader("connection") == "close"
    assert own_mesh.gateway.wait() == 0
    assert idle.recv(1) == b""
    for each in (idle, connection):
        each.close()
    assert "drained" in own_mesh.gateway.log


def test_a_drain_does_not_wait_for_ever(tmp_path: Path) -> None:
    with Mesh(tmp_path, MESH_DRAIN_TIMEOUT_S=1) as mesh:
        connection = waiting(mesh, 60_000)
        mesh.gateway.signal(signal.SIGTERM)
        assert mesh.gateway.wait() == 0
        until(lambda: mesh.service.counts().get("cancelled") == 1, "the work's cancellation")
        connection.close()


def test_who_serves_on_while_leaving_says_so(tmp_path: Path) -> None:
    with Mesh(tmp_path, MESH_DRAIN_DELAY_S=60) as mesh, mesh.client() as client:
        assert client.get("/ready").headers.get("connection") != "close"
        mesh.gateway.signal(signal.SIGTERM)
        until(lambda: "draining" in mesh.gateway.log, "the drain")
        response = client.get("/ready")
        assert (response.status_code, response.json()["ready"]) == (503, False)
        assert response.headers["connection"] == "close"
        response = client.post(CLASSIFY, json={"texts": ["a"]})
        assert response.status_code == 200
        assert response.headers["connection"] == "close"


def test_small_responses_do_not_wait_for_acknowledgements() -> None:
    with listen("127.0.0.1", free_port()) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def faulty(folder: Path, **settings: object) -> str:
    """What a gateway says that can't start."""
    gateway = Gateway(
        folder,
        redis_url="redis://127.0.0.1:1",
        target="127.0.0.1:1",
        hashing_key=folder / "hashing.key",
        **settings,
    ).launch()
    try:
        assert gateway.wait() == 2
    finally:
        gateway.kill()
    return gateway.log.splitlines()[-1]


def test_a_taken_port_is_said_in_one_line(mesh: Mesh, tmp_path: Path) -> None:
    mesh_key = tmp_path / "hashing.key"
    mesh_key.write_text("0" * 64)
    said = faulty(tmp_path, MESH_GATEWAY_HTTP_PORT=mesh.gateway.port)
    assert re.fullmatch(
        rf"can't listen on 127.0.0.1:{mesh.gateway.port}: Address already in use; free the port or "
        "set another MESH_GATEWAY_HTTP_PORT",
        said,
    )


def test_a_missing_hashing_key_is_said_in_one_line(tmp_path: Path) -> None:
    said = faulty(tmp_path)
    assert f"no hashing key at {tmp_path / 'hashing.key'}" in said
    assert "mesh keys create" in said
