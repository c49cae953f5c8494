"""A request that comes whole is answered as one that comes in pieces, which goes another way."""

import re
from collections.abc import Iterator

import pytest

from processes import Mesh
from raw_http import CHUNKED, connect, keyed, rest, whole

GOOD = b'{"texts": ["a"]}'
BODIES = {
    "good": GOOD,
    "no JSON": b"{",
    "no texts": b'{"texts": "a"}',
    "an error of the service": b'{"texts": ["a", ""]}',
}
_CLOSE = b"connection: close"
_VARYING = {"x-request-id", "server-timing", "date", "ratelimit"}


def in_one_part(mesh: Mesh, body: bytes, *headers: bytes) -> Iterator[bytes]:
    yield keyed(mesh, *headers, body=body)


def head_then_body(mesh: Mesh, body: bytes, *headers: bytes) -> Iterator[bytes]:
    sent = keyed(mesh, *headers, body=body)
    yield sent.removesuffix(body)
    yield body


def chunked(mesh: Mesh, body: bytes, *headers: bytes) -> Iterator[bytes]:
    yield keyed(mesh, CHUNKED, *headers, body=whole(body))


def expecting(mesh: Mesh, body: bytes, *headers: bytes) -> Iterator[bytes]:
    yield from head_then_body(mesh, body, b"expect: 100-continue", *headers)


WAYS = (head_then_body, chunked, expecting)


def answer(mesh: Mesh, parts: Iterator[bytes]) -> tuple[bytes, dict[str, str], bytes]:
    """Status line, the headers that are the same every time, and the body."""
    with connect(mesh) as connection:
        first, *others = parts
        connection.sendall(first)
        received = b""
        for part in others:
            # The gateway has read what was sent before: it has begun on it, or asks for more.
            if b"100-continue" in first:
                received = connection.recv(1 << 16)
                assert received == b"HTTP/1.1 100 Continue\r\n\r\n"
                received = b""
            connection.sendall(part)
        received += rest(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    same = {name: value for name, value in headers.items() if name not in _VARYING}
    assert headers.keys() >= {"x-request-id", "server-timing", "ratelimit", "ratelimit-policy"}
    unnamed = re.sub(rb'"request_id":"[0-9a-f]{32}"', b"", body)
    same["content-length"] = str(len(body) == int(headers["content-length"]))
    return status.encode(), same, unnamed


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_every_way_has_the_same_answer(mesh: Mesh, body: bytes, way: object) -> None:
    assert callable(way)
    expected = answer(mesh, in_one_part(mesh, body, _CLOSE))
    assert answer(mesh, way(mesh, body, _CLOSE)) == expected


def test_requests_of_both_kinds_are_answered_in_their_order(mesh: Mesh) -> None:
    texts = [b"a", b"bb", b"ccc", b"dddd"]
    bodies = [b'{"texts": ["%b"]}' % text for text in texts]
    sent = b"".join(
        keyed(mesh, CHUNKED, b"x-request-id: r%d" % index, body=whole(body))
        if index % 2
        else keyed(mesh, b"x-request-id: r%d" % index, body=body)
        for index, body in enumerate(bodies)
    )
    with connect(mesh) as connection:
        connection.sendall(sent + keyed(mesh, _CLOSE, b"x-request-id: last", body=GOOD))
        received = rest(connection)
    ids = re.findall(rb"x-request-id: (\w+)", received)
    assert ids == [b"r0", b"r1", b"r2", b"r3", b"last"]
    assert received.count(b"HTTP/1.1 200 OK\r\n") == len(ids)
