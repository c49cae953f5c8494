"""HTTP/1.1 by hand, for tests that send what no client library would."""

import json
import re
import socket
from contextlib import suppress
from itertools import count

from processes import PATIENCE_S, Mesh, until

LINE = b"POST /v1/classify HTTP/1.1"
CHUNKED = b"transfer-encoding: chunked"
BODY = b'{"texts": ["a"]}'
LAST = b"GET /health HTTP/1.1\r\nhost: mesh\r\nconnection: close\r\n\r\n"
"""A request after which the server closes."""
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: mesh\r\n\r\n"
"""What would be answered with 404, and logged, if the gateway took it for a request."""
_marks = count()


def connect(mesh: Mesh) -> socket.socket:
    return socket.create_connection(("127.0.0.1", mesh.gateway.port), PATIENCE_S)


def post(*headers: bytes, body: bytes = b"", line: bytes = LINE) -> bytes:
    return b"\r\n".join([line, b"host: mesh", *headers, b"", body])


def keyed(mesh: Mesh, *headers: bytes, body: bytes = BODY, line: bytes = LINE) -> bytes:
    """A request with a key; its length is said unless a header says how it is framed."""
    framed = any(each.startswith((b"transfer-encoding", b"content-length")) for each in headers)
    length = () if framed else (b"content-length: %d" % len(body),)
    key = b"x-api-key: " + mesh.key.text.encode()
    return post(key, *headers, *length, body=body, line=line)


def chunked(mesh: Mesh, body: bytes) -> bytes:
    return keyed(mesh, CHUNKED, body=body)


def whole(body: bytes, after: bytes = b"") -> bytes:
    """A body as one chunk, with trailers."""
    return b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, after)


def rest(connection: socket.socket) -> bytes:
    """What the server sends until it closes."""
    received = b""
    with suppress(ConnectionResetError):
        while part := connection.recv(1 << 16):
            received += part
    return received


def talk(mesh: Mesh, *parts: bytes) -> list[tuple[int, bytes]]:
    """Statuses and bodies of all that is answered until the server closes."""
    with connect(mesh) as connection:
        # It may answer and close before all is sent.
        with suppress(BrokenPipeError, ConnectionResetError):
            for part in parts:
                connection.sendall(part)
        return answers(rest(connection))


def statuses(mesh: Mesh, *parts: bytes) -> list[int]:
    return [status for status, _ in talk(mesh, *parts)]


def answers(received: bytes) -> list[tuple[int, bytes]]:
    found = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        size = int(length[1]) if length else 0
        found.append((int(head.split(b" ")[1]), received[:size]))
        received = received[size:]
    return found


def label(body: bytes) -> str:
    return str(json.loads(body)["results"][0]["label"])


def begun(mesh: Mesh) -> int:
    return mesh.service.counts().get("begun", 0)


def slow(mesh: Mesh, timeout_ms: int = 500) -> bytes:
    """A request that is answered with 504 after that time."""
    timeout = b"x-request-timeout-ms: %d" % timeout_ms
    return keyed(mesh, timeout, body=b'{"texts": ["wait"]}')


def log_since(mesh: Mesh, start: int) -> str:
    """The log from a position on: a request that is made now has its line behind all others."""
    mark = f"/mark-{next(_marks)}"
    with mesh.client() as client:
        assert client.get(mark).status_code == 404
    until(lambda: mark in mesh.gateway.log, "the mark in the access log")
    return mesh.gateway.log[start:]
