"""A caller that goes away costs no more work."""

import json
import socket

import pytest

from processes import PATIENCE_S, Mesh, until


def send(mesh: Mesh, body: bytes, length: int | None = None) -> socket.socket:
    """Sends a request for a classification and does not wait for the answer."""
    connection = socket.create_connection(("127.0.0.1", mesh.gateway.port), PATIENCE_S)
    head = (
        f"POST /v1/classify HTTP/1.1\r\nhost: mesh\r\nauthorization: Bearer {mesh.key.text}\r\n"
        f"content-type: application/json\r\ncontent-length: {length or len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection


def count(mesh: Mesh, what: str) -> int:
    return mesh.service.counts().get(what, 0)


WAIT = json.dumps({"texts": ["wait"]}).encode()


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_a_caller_that_leaves_cancels_its_work(mesh: Mesh, how: str) -> None:
    begun, cancelled = count(mesh, "begun"), count(mesh, "cancelled")
    connection = send(mesh, WAIT)
    until(lambda: count(mesh, "begun") == begun + 1, "the work's beginning")
    if how == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
    until(lambda: count(mesh, "cancelled") == cancelled + 1, "the work's cancellation")
    until(lambda: '"status":499' in mesh.gateway.log, "the access log's line")


def test_a_caller_that_leaves_amid_its_body_begins_no_work(mesh: Mesh) -> None:
    begun = count(mesh, "begun")
    lines = mesh.gateway.log.count('"status":499')
    send(mesh, WAIT[:5], len(WAIT)).close()
    until(lambda: mesh.gateway.log.count('"status":499') > lines, "the access log's line")
    assert count(mesh, "begun") == begun


def test_one_that_leaves_takes_nothing_from_its_neighbours(mesh: Mesh) -> None:
    begun, cancelled = count(mesh, "begun"), count(mesh, "cancelled")
    connections = [send(mesh, WAIT) for _ in range(10)]
    until(lambda: count(mesh, "begun") == begun + 10, "the work's beginning")
    for connection in connections[:5]:
        connection.close()
    until(lambda: count(mesh, "cancelled") == cancelled + 5, "five cancellations")
    with mesh.client() as client:
        assert client.post("/v1/classify", json={"texts": ["a"]}).status_code == 200
    assert count(mesh, "cancelled") == cancelled + 5
    for connection in connections[5:]:
        connection.close()
    until(lambda: count(mesh, "cancelled") == cancelled + 10, "the other five")


def test_what_is_pipelined_behind_is_answered(mesh: Mesh) -> None:
    """A second request on the connection is not taken for the caller's leaving."""
    body = json.dumps({"texts": ["a"]}).encode()
    with send(mesh, body) as connection:
        with send(mesh, body) as other:
            assert other.recv(65536).startswith(b"HTTP/1.1 200 ")
        request = (
            f"POST /v1/classify HTTP/1.1\r\nhost: mesh\r\nx-api-key: {mesh.key.text}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        ).encode() + body
        connection.sendall(request + request)
        answers = b""
        while answers.count(b"HTTP/1.1 200 ") < 3 or answers.count(b'"lineage"') < 3:
            part = connection.recv(65536)
            assert part, answers
            answers += part
