"""What is not quite HTTP/1.1: it is refused, and nothing in it passes for a request."""

import json
from collections.abc import Iterator

import pytest

from processes import Mesh, until
from raw_http import (
    BODY,
    CHUNKED,
    LAST,
    SMUGGLED,
    answers,
    begun,
    chunked,
    connect,
    keyed,
    label,
    log_since,
    post,
    rest,
    slow,
    statuses,
    talk,
    whole,
)

MANY = 20_000_000


@pytest.fixture(autouse=True)
def nothing_is_smuggled(mesh: Mesh) -> Iterator[None]:
    start = len(mesh.gateway.log)
    yield
    log = log_since(mesh, start)
    assert "/smuggled" not in log
    assert "Exception in callback" not in log


HEADS = {
    "content-length and transfer-encoding": post(b"content-length: 4", CHUNKED, body=b"0\r\n\r\n"),
    "transfer-encoding and content-length": post(CHUNKED, b"content-length: 4", body=b"0\r\n\r\n"),
    "two lengths": post(b"content-length: 0", b"content-length: 38"),
    "the same length twice": post(b"content-length: 0", b"content-length: 0"),
    "a list of lengths": post(b"content-length: 0, 0"),
    "a length with a sign": post(b"content-length: +5", body=b"hello"),
    "a negative length": post(b"content-length: -1"),
    "a hexadecimal length": post(b"content-length: 0x5", body=b"hello"),
    "a length with an underscore": post(b"content-length: 1_0", body=b"hello12345"),
    "a length of 65 bits": post(b"content-length: 18446744073709551616"),
    "an empty length": post(b"content-length:"),
    "a length on a folded line": post(b"content-length:\r\n 5", body=b"hello"),
    "a folded line": post(b"x: a\r\n " + CHUNKED, body=b"0\r\n\r\n"),
    "a first line that is folded": post(line=b"GET /smuggled HTTP/1.1\r\n x: y"),
    "space before a colon": post(b"content-length : 5", body=b"hello"),
    "a tab before a colon": post(b"transfer-encoding\t: chunked", body=b"0\r\n\r\n"),
    "space before a name": post(b" x: a"),
    "no name": post(b": a"),
    "bare line feeds": b"GET /smuggled HTTP/1.1\nhost: mesh\n\n",
    "one bare line feed": post(b"x: a\n" + CHUNKED, body=b"0\r\n\r\n"),
    "a bare carriage return": post(b"x: a\ry: b"),
    "NUL in a value": post(b"x: a\0b"),
    "NUL in a name": post(b"x\0y: a"),
    "NUL in the target": b"GET /smuggled\0 HTTP/1.1\r\nhost: mesh\r\n\r\n",
    "two codings": post(b"transfer-encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "two codings on two lines": post(b"transfer-encoding: identity", CHUNKED, body=b"0\r\n\r\n"),
    "chunked twice": post(CHUNKED, CHUNKED, body=b"0\r\n\r\n"),
    "chunked before another": post(b"transfer-encoding: chunked, identity", body=b"0\r\n\r\n"),
    "a coding that is not chunked": post(b"transfer-encoding: xchunked", body=b"0\r\n\r\n"),
    "a coding in quotes": post(b'transfer-encoding: "chunked"', body=b"0\r\n\r\n"),
    "a coding with a parameter": post(b"transfer-encoding: chunked;q=1", body=b"0\r\n\r\n"),
    "an empty coding": post(b"transfer-encoding:"),
    "chunks over HTTP/1.0": post(CHUNKED, body=b"0\r\n\r\n", line=b"POST /smuggled HTTP/1.0"),
    "no host": b"GET /smuggled HTTP/1.1\r\n\r\n",
    "two hosts": post(b"host: other", line=b"GET /smuggled HTTP/1.1"),
    "an authority for a target": post(line=b"GET mesh:80 HTTP/1.1"),
    "CONNECT": post(line=b"CONNECT mesh:80 HTTP/1.1"),
    "a relative target": post(line=b"GET smuggled HTTP/1.1"),
    "a target with a space": post(line=b"GET /smuggled again HTTP/1.1"),
    "a target that is not ASCII": post(line=b"GET /smuggled\xff HTTP/1.1"),
    "a method that nobody knows": post(line=b"SMUGGLE /smuggled HTTP/1.1"),
    "HTTP/0.9": b"GET /smuggled\r\n\r\n",
    "HTTP/0.9 by name": post(line=b"GET /smuggled HTTP/0.9"),
    "HTTP/1.2": post(line=b"GET /smuggled HTTP/1.2"),
    "HTTP/2 by name": post(line=b"GET /smuggled HTTP/2.0"),
    "HTTP/2 by its preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
}


@pytest.mark.parametrize("request_bytes", HEADS.values(), ids=HEADS)
def test_a_malformed_head_is_refused_with_all_behind_it(mesh: Mesh, request_bytes: bytes) -> None:
    ((status, body),) = talk(mesh, request_bytes + SMUGGLED)
    assert (status, json.loads(body)["reason"]) == (400, "MALFORMED_HTTP")


CHUNKS = {
    "a hexadecimal prefix": b"0x10\r\n" + BODY,
    "a sign": b"+10\r\n" + BODY,
    "a negative size": b"-10\r\n" + BODY,
    "no number": b"g\r\n" + BODY,
    "no size": b"\r\n" + BODY,
    "space behind the size": b"10 \r\n" + BODY,
    "a size of 68 bits": b"10000000000000010\r\n" + BODY,
    "a bare line feed": b"10\n" + BODY,
    "a bare line feed behind an extension": b"10;a\n" + BODY,
    "a line feed in an extension": b'10;a="\n"\r\n' + BODY,
    "more than the size": b"f\r\n" + BODY,
    "no end": b"10\r\n" + BODY + b"0\r\n\r\n",
    "another end": b"10\r\n" + BODY + b"XX0\r\n\r\n",
    "a trailer without a colon": b"10\r\n" + BODY + b"\r\n0\r\nnonsense",
    "a length in a trailer": b"10\r\n" + BODY + b"\r\n0\r\ncontent-length: 38",
}


@pytest.mark.parametrize("body", CHUNKS.values(), ids=CHUNKS)
def test_a_malformed_chunk_is_refused_with_all_behind_it(mesh: Mesh, body: bytes) -> None:
    before = begun(mesh)
    assert statuses(mesh, chunked(mesh, body + b"\r\n0\r\n\r\n") + SMUGGLED) == [400]
    assert begun(mesh) == before


UNUSUAL = {
    "chunks": (CHUNKED, whole(BODY)),
    "chunks in capitals": (b"transfer-encoding: CHUNKED", whole(BODY)),
    "a chunk extension": (CHUNKED, b'10;name="value"\r\n' + BODY + b"\r\n0;last\r\n\r\n"),
    "a size with zeros before it": (CHUNKED, b"0000010\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a trailer": (CHUNKED, whole(BODY, b"x-checksum: 1\r\n")),
    "a length with zeros before it": (b"content-length: 0016", BODY),
}


@pytest.mark.parametrize(("framing", "body"), UNUSUAL.values(), ids=UNUSUAL)
def test_what_is_unusual_and_right_is_answered(mesh: Mesh, framing: bytes, body: bytes) -> None:
    assert statuses(mesh, keyed(mesh, framing, body=body) + LAST) == [200, 200]


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET http://mesh/health HTTP/1.1", 200),
        (b"GET http://another/health?a=b HTTP/1.1", 200),
        (b"GET /health HTTP/1.0", 200),
        (b"HEAD /health HTTP/1.1", 405),
        (b"OPTIONS * HTTP/1.1", 404),
    ],
)
def test_targets_and_versions(mesh: Mesh, line: bytes, status: int) -> None:
    assert statuses(mesh, post(b"connection: close", line=line))[0] == status


def test_http_1_0_closes(mesh: Mesh) -> None:
    request = b"GET /health HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"
    assert statuses(mesh, request + SMUGGLED) == [200]


def test_what_follows_a_close_is_not_read(mesh: Mesh) -> None:
    assert statuses(mesh, LAST + SMUGGLED) == [200]


def test_a_body_is_never_a_request(mesh: Mesh) -> None:
    said = statuses(mesh, keyed(mesh, body=SMUGGLED) + chunked(mesh, whole(SMUGGLED)) + LAST)
    assert said == [400, 400, 200]


def test_trailers_are_not_headers(mesh: Mesh) -> None:
    trailer = b"x-api-key: " + mesh.key.text.encode() + b"\r\n"
    by_trailer = post(CHUNKED, body=whole(BODY, trailer))
    next_one = post(b"content-length: %d" % len(BODY), body=BODY)
    assert statuses(mesh, by_trailer + next_one + LAST) == [401, 401, 200]


UPGRADE = (b"connection: upgrade", b"upgrade: h2c")


@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket"])
def test_an_upgrade_is_not_offered_and_the_request_is_answered(mesh: Mesh, upgrade: bytes) -> None:
    """Java's own client wishes for h2c in its first request, whatever that is."""
    wish = (b"connection: upgrade", b"upgrade: " + upgrade)
    with_length = keyed(mesh, *wish)
    in_chunks = keyed(mesh, *wish, CHUNKED, body=whole(BODY))
    assert statuses(mesh, with_length + in_chunks + keyed(mesh) + LAST) == [200] * 4


def test_what_follows_an_upgrade_is_what_it_would_be_without(mesh: Mesh) -> None:
    """The parser alone drops the beginning of the second request, and its body is the next one."""
    wish = post(*UPGRADE, line=b"GET /health HTTP/1.1")
    second = post(b"content-length: %d" % len(SMUGGLED))
    with connect(mesh) as connection:
        connection.sendall(wish + second)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        connection.sendall(SMUGGLED + LAST)
        assert [status for status, _ in answers(rest(connection))][-1] == 200


def test_pipelined_requests_are_answered_in_their_order(mesh: Mesh) -> None:
    quick = [keyed(mesh, body=b'{"texts": ["%d"]}' % number) for number in range(5)]
    (late, *rest_of_them, last) = talk(mesh, slow(mesh) + b"".join(quick) + LAST)
    assert late[0] == 504
    assert [label(body) for _, body in rest_of_them] == ["0", "1", "2", "3", "4"]
    assert last[0] == 200


def test_few_requests_wait_behind_one(mesh: Mesh) -> None:
    before = begun(mesh)
    health = post(line=b"GET /health HTTP/1.1")
    with connect(mesh) as connection:
        connection.sendall(slow(mesh, 2000))
        until(lambda: begun(mesh) > before, "the first request's beginning")
        connection.sendall(health * 70)
        received = rest(connection)
    assert [status for status, _ in answers(received)] == [504, *[200] * 64, 503]
    assert json.loads(answers(received)[-1][1])["reason"] == "OVERLOADED"
    assert b"\r\nretry-after: 1\r\n" in received


@pytest.mark.parametrize("bad", [b"nonsense\r\n\r\n", post(CHUNKED, body=b"zz\r\n")])
def test_what_came_before_a_fault_is_answered_first(mesh: Mesh, bad: bytes) -> None:
    assert statuses(mesh, slow(mesh) + keyed(mesh) + bad + SMUGGLED) == [504, 200, 400]


def test_a_fault_in_a_body_that_was_answered_is_not_answered_again(mesh: Mesh) -> None:
    stranger = post(CHUNKED, body=b"1\r\na\r\n")
    with connect(mesh) as connection:
        connection.sendall(stranger)
        received = connection.recv(1 << 16)
        connection.sendall(b"zz\r\n" + SMUGGLED)
        received += rest(connection)
    assert [status for status, _ in answers(received)] == [401]


def test_a_fault_ends_the_work_on_its_request(mesh: Mesh) -> None:
    lines = mesh.gateway.log.count('"status":499')
    assert statuses(mesh, chunked(mesh, b"1\r\n{\r\n"), b"zz\r\n") == [400]
    until(lambda: mesh.gateway.log.count('"status":499') > lines, "the access log's line")


@pytest.mark.parametrize(
    "body",
    [
        whole(BODY, b"x: " + b"a" * MANY),
        whole(BODY, b"a: b\r\n" * 1000),
        b"10;" + b"a" * MANY,
    ],
    ids=["an endless trailer", "many trailers", "an endless extension"],
)
def test_what_is_beside_the_body_is_bounded(mesh: Mesh, body: bytes) -> None:
    before = begun(mesh)
    ((status, told),) = talk(mesh, chunked(mesh, body))
    assert (status, json.loads(told)["reason"]) == (431, "HEADERS_TOO_LARGE")
    assert begun(mesh) == before


def test_endless_blank_lines_are_refused(mesh: Mesh) -> None:
    health = post(line=b"GET /health HTTP/1.1")
    assert statuses(mesh, health, b"\r\n" * MANY) == [200, 431]
