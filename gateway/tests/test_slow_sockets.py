"""Callers that leave halfway, send a byte at a time, or do not read."""

import select
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from processes import PATIENCE_S, Mesh, until
from raw_http import (
    BODY,
    LAST,
    answers,
    begun,
    connect,
    keyed,
    post,
    rest,
    slow,
)


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh that waits for nobody longer than a second."""
    with Mesh(
        tmp_path_factory.mktemp("hasty"),
        MESH_GATEWAY_HEADER_TIMEOUT_S=1,
        MESH_GATEWAY_KEEP_ALIVE_TIMEOUT_S=1,
        MESH_GATEWAY_STREAM_IDLE_TIMEOUT_S=1,
    ) as started:
        yield started


def test_a_body_is_asked_for_once_it_is_wanted(mesh: Mesh) -> None:
    length = b"content-length: %d" % len(BODY)
    with connect(mesh) as connection:
        connection.sendall(keyed(mesh, b"expect: 100-continue", length, body=b""))
        assert connection.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY + LAST)
        assert [status for status, _ in answers(rest(connection))] == [200, 200]


def test_no_body_is_asked_of_a_stranger(mesh: Mesh) -> None:
    with connect(mesh) as connection:
        connection.sendall(post(b"expect: 100-continue", b"content-length: 16"))
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 401 ")


def test_who_shuts_its_side_has_left(mesh: Mesh) -> None:
    """A closed connection looks the same from here, and its work must end."""
    before = mesh.service.counts()
    with connect(mesh) as connection:
        connection.sendall(slow(mesh, 60_000))
        until(lambda: begun(mesh) > before.get("begun", 0), "the work's beginning")
        connection.shutdown(socket.SHUT_WR)
        assert rest(connection) == b""
    until(
        lambda: mesh.service.counts().get("cancelled", 0) > before.get("cancelled", 0),
        "the work's cancellation",
    )


@pytest.mark.parametrize("sent", [4, 80, -1])
def test_half_a_request_and_no_more(mesh: Mesh, sent: int) -> None:
    before = begun(mesh)
    with connect(mesh) as connection:
        connection.sendall(keyed(mesh)[:sent])
        connection.shutdown(socket.SHUT_WR)
        assert rest(connection) == b""
    assert begun(mesh) == before


def test_who_leaves_behind_many_requests_leaves_nothing_behind(mesh: Mesh) -> None:
    before = mesh.service.counts().get("cancelled", 0)
    with connect(mesh) as connection:
        started = begun(mesh)
        connection.sendall(slow(mesh, 600_000) + keyed(mesh) * 20)
        until(lambda: begun(mesh) > started, "the first one's beginning")
    until(lambda: mesh.service.counts().get("cancelled", 0) > before, "its cancellation")
    until(mesh.gateway.at_rest, "the gateway's rest")


def trickle(connection: socket.socket, what: bytes) -> bytes:
    """Sends bytes one by one until the server closes; what it has sent by then."""
    received = b""
    for byte in what:
        ready, _, _ = select.select([connection], [], [], 0.05)
        with suppress(BrokenPipeError, ConnectionResetError):
            if ready:
                part = connection.recv(1 << 16)
                if not part:
                    break
                received += part
            connection.sendall(bytes([byte]))
            continue
        break
    else:
        pytest.fail("the server did not close")
    return received


def test_a_trickled_body_is_cut(hasty: Mesh) -> None:
    head = keyed(hasty, b"x-request-timeout-ms: 500", b"content-length: 1000000", body=b"{")
    with connect(hasty) as connection:
        connection.sendall(head)
        received = trickle(connection, b"a" * int(PATIENCE_S / 0.05))
    assert [status for status, _ in answers(received)] == [504]
    assert 'mesh_refusal="BODY_LATE"' in hasty.gateway.metrics()


def test_a_trickled_body_of_a_stranger_is_cut(hasty: Mesh) -> None:
    with connect(hasty) as connection:
        connection.sendall(post(b"content-length: 1000000"))
        received = trickle(connection, b"a" * int(PATIENCE_S / 0.05))
    assert [status for status, _ in answers(received)] == [401]


def test_a_blank_line_does_not_keep_a_connection(hasty: Mesh) -> None:
    with connect(hasty) as connection:
        connection.sendall(post(line=b"GET /health HTTP/1.1"))
        received = connection.recv(1 << 16)
        connection.sendall(b"\r\n")
        received += rest(connection)
    assert [status for status, _ in answers(received)] == [200]


def test_who_does_not_read_is_dropped(hasty: Mesh) -> None:
    def is_dropped() -> bool:
        # The kernel drops it without a word; whoever sends learns of it.
        try:
            connection.send(b"\r\n")
        except ConnectionResetError:
            return True
        return False

    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", hasty.gateway.port))
        connection.sendall(post(line=b"GET /openapi.json HTTP/1.1") * 60)
        until(is_dropped, "the end of the connection")
