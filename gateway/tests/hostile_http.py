"""The catalogue of hostile requests to the native routes over HTTP."""

import gzip
import json
from collections.abc import Callable
from typing import Final

from hostile_scene import (
    BAD_TOKENS,
    BOMB_BYTES,
    LONG_ID,
    MAX_MESSAGE_BYTES,
    BadToken,
    Scene,
    token_that_may_only_read,
)
from hostile_wire import HttpCase, Pair, chunked, request

CLASSIFY: Final = "/v1/classify"
JSON: Final[Pair] = ("content-type", "application/json")
_GOOD: Final = b'{"texts": ["a"]}'
_BOMB: Final = gzip.compress(bytes(BOMB_BYTES))
_MALFORMED: Final = (400, "MALFORMED_HTTP", "the request is not valid HTTP/1.1; send ")
_TOO_LARGE: Final = (413, "PAYLOAD_TOO_LARGE")
_HEAD_TOO_LARGE: Final = (
    431,
    "HEADERS_TOO_LARGE",
    "are over 32768 bytes (MESH_GATEWAY_MAX_HEADER_BYTES); send less",
)
_OVER: Final = f"and the limit is {MAX_MESSAGE_BYTES} bytes (MESH_MAX_MESSAGE_BYTES)"


def bearer(scene: Scene) -> Pair:
    """The header with the key that may do everything."""
    return "authorization", f"Bearer {scene.key.text}"


def texts_of(size: int) -> bytes:
    """A request of that many bytes, whose texts are too long."""
    frame = len(b'{"texts":["",""]}')
    half = (size - frame) // 2
    return b'{"texts":["%b","%b"]}' % (b"a" * half, b"b" * (size - frame - half))


def with_headers(*headers: Pair, body: bytes = _GOOD) -> Callable[[Scene], bytes]:
    """A request with those headers beside the key and the type."""
    return lambda scene: request(CLASSIFY, body, [bearer(scene), JSON, *headers])


def with_body(body: bytes) -> Callable[[Scene], bytes]:
    """A request that has nothing wrong but its body."""
    return with_headers(body=body)


def framed(*headers: Pair, body: bytes = _GOOD) -> Callable[[Scene], bytes]:
    """A request whose own headers say where its body ends."""
    return lambda scene: request(CLASSIFY, body, [bearer(scene), JSON, *headers], length=False)


def token_case(token: BadToken) -> HttpCase:
    """A request with a token that proves nobody."""
    return HttpCase(
        f"a token {token.name}",
        lambda _: request(CLASSIFY, _GOOD, [JSON, ("authorization", f"Bearer {token.make()}")]),
        401,
        token.reason,
        token.words,
    )


def answer_case(over: int, status: int, reason: str | None, words: str) -> HttpCase:
    """A good request whose answer is that much larger than may be."""

    def make(scene: Scene) -> bytes:
        body = json.dumps({"texts": [scene.label("native", over)]}).encode()
        return request(CLASSIFY, body, [bearer(scene), JSON])

    return HttpCase(f"an answer at the limit {over:+}", make, status, reason, words)


_VALUES: Final = (
    HttpCase(
        "an unknown path",
        lambda scene: request("/v1/clasify", _GOOD, [bearer(scene), JSON]),
        *(404, "ROUTE_NOT_FOUND", "there is nothing at /v1/clasify; /docs lists what there is"),
    ),
    HttpCase(
        "an element of another type",
        with_body(b'{"texts": ["a", 7]}'),
        *(400, "INVALID_ARGUMENT", "texts[1]: expected 'str', got 'int'; see the schema in"),
    ),
    HttpCase(
        "an unknown field",
        with_body(b'{"texts": ["a"], "txets": []}'),
        *(400, "INVALID_ARGUMENT", "body: object contains unknown field 'txets'"),
    ),
    *(
        HttpCase(
            f"{number.decode()} in JSON",
            with_body(b'{"texts": [%b]}' % number),
            *(400, "BODY_NOT_JSON", "the body is not valid JSON"),
        )
        for number in (b"NaN", b"Infinity", b"-Infinity")
    ),
    HttpCase(
        "a number beyond all numbers",
        with_body(b'{"texts": ["a"], "allow_degraded": 1e999}'),
        *(400, "INVALID_ARGUMENT", "allow_degraded: "),
    ),
    HttpCase(
        "JSON nested too deep",
        with_body(b'{"texts": ' + b"[" * 100_000),
        *(400, "INVALID_ARGUMENT", "texts[0]: expected 'str', got 'array'"),
    ),
    HttpCase("an id of 10 KB", with_headers(("x-request-id", LONG_ID)), 200, None, '"label":"a"'),
    HttpCase(
        "an identity of its own making",
        with_headers(
            ("x-mesh-key-id", "forged"),
            ("x-mesh-tenant", "forged"),
            ("x-mesh-hops", "1"),
            body=b'{"texts": ["who"]}',
        ),
        *(200, None, lambda scene: f'"label":"{scene.key.id} shop '),
    ),
)

_HEADERS: Final = (
    HttpCase(
        "authorization twice",
        lambda scene: request(CLASSIFY, _GOOD, [bearer(scene), bearer(scene), JSON]),
        *(401, "KEY_MALFORMED", "copy it whole"),
    ),
    HttpCase(
        "content-type twice",
        with_headers(("content-type", "text/plain")),
        *(415, "UNSUPPORTED_MEDIA_TYPE"),
        "the header content-type is 'application/json, text/plain'; send application/json",
    ),
    HttpCase(
        "content-encoding twice",
        with_headers(("content-encoding", "identity"), ("content-encoding", "gzip")),
        *(415, "UNSUPPORTED_MEDIA_TYPE", "the header content-encoding is 'identity, gzip'; send"),
    ),
    HttpCase(
        "a deadline twice",
        with_headers(("x-request-timeout-ms", "100"), ("x-request-timeout-ms", "100")),
        *(400, "INVALID_ARGUMENT", "x-request-timeout-ms is '100, 100'; send a whole number of"),
    ),
    *(
        HttpCase(f"content-length {name}", framed(*headers, body=body), *_MALFORMED)
        for name, headers, body in (
            ("twice", [("content-length", "16")] * 2, _GOOD),
            ("twice, not the same", [("content-length", "16"), ("content-length", "9")], _GOOD),
            ("negative", [("content-length", "-1")], _GOOD),
            ("with a sign", [("content-length", "+16")], _GOOD),
            ("beyond all numbers", [("content-length", "9" * 30)], _GOOD),
            (
                "beside chunks",
                [("content-length", "16"), ("transfer-encoding", "chunked")],
                chunked(_GOOD),
            ),
        )
    ),
    HttpCase(
        "chunks without a length",
        framed(("transfer-encoding", "chunked"), body=b"zz\r\n" + _GOOD),
        *_MALFORMED,
    ),
    HttpCase("a header with a NUL", with_headers(("x-a", "b\0c")), *_MALFORMED),
    HttpCase("what is not HTTP", lambda _: b"\x16\x03\x01\x02\x00\x01\x00\x01", *_MALFORMED),
    HttpCase("a bomb of one header", with_headers(("x-a", "a" * 33 * 1024)), *_HEAD_TOO_LARGE),
    HttpCase("a bomb of many headers", with_headers(*[("a", "b")] * 1000), *_HEAD_TOO_LARGE),
    HttpCase(
        "a bomb of a path",
        lambda _: request("/" + "a" * 33 * 1024, b"", [], method="GET"),
        *_HEAD_TOO_LARGE,
    ),
)

_BODIES: Final = (
    HttpCase(
        "a body at the limit -1",
        with_body(texts_of(MAX_MESSAGE_BYTES - 1)),
        *(400, "INVALID_ARGUMENT", "texts[0] is over 65536 bytes; send a shorter text"),
    ),
    HttpCase(
        "a body at the limit +1",
        with_body(texts_of(MAX_MESSAGE_BYTES + 1)),
        *_TOO_LARGE,
        f"the body is {MAX_MESSAGE_BYTES + 1} bytes {_OVER}; send less at a time",
    ),
    HttpCase(
        "chunks at the limit -1",
        framed(("transfer-encoding", "chunked"), body=chunked(texts_of(MAX_MESSAGE_BYTES - 1))),
        *(400, "INVALID_ARGUMENT", "texts[0] is over 65536 bytes"),
    ),
    HttpCase(
        "chunks at the limit +1",
        framed(("transfer-encoding", "chunked"), body=chunked(texts_of(MAX_MESSAGE_BYTES + 1))),
        *_TOO_LARGE,
        f"the body goes on {_OVER}; send less at a time",
    ),
    HttpCase(
        "a body that is far too large and does not come",
        framed(("content-length", "99999999999"), body=b""),
        *_TOO_LARGE,
        f"the body is 99999999999 bytes {_OVER}",
        whole=False,
    ),
    answer_case(-1, 200, None, '"label":"xxx'),
    answer_case(
        +1,
        *_TOO_LARGE,
        f"the response has {MAX_MESSAGE_BYTES + 1} bytes {_OVER}; ask for less at a time",
    ),
    HttpCase(
        "a body that is slow",
        framed(("content-length", "16"), ("x-request-timeout-ms", "50"), body=_GOOD[:5]),
        *(504, "DEADLINE_EXCEEDED", "the deadline passed before the answer was ready; allow more"),
        whole=False,
    ),
    HttpCase(
        "a compressed bomb",
        with_headers(("content-encoding", "gzip"), body=_BOMB),
        *(415, "UNSUPPORTED_MEDIA_TYPE"),
        "the header content-encoding is 'gzip'; send the body uncompressed",
    ),
)

_CREDENTIALS: Final = (
    HttpCase(
        "no key",
        lambda _: request(CLASSIFY, _GOOD, [JSON]),
        *(401, "KEY_MISSING", "there is no API key; send one as 'Authorization: Bearer <key>'"),
    ),
    HttpCase(
        "a key whose scope does not cover the route",
        lambda scene: request(CLASSIFY, _GOOD, [JSON, ("x-api-key", scene.reader.text)]),
        *(403, "SCOPE_MISSING"),
        lambda scene: f"{scene.reader.id} may not do classifier:predict; use a key with that",
    ),
    HttpCase(
        "a token whose scope does not cover the route",
        lambda _: request(
            CLASSIFY, _GOOD, [JSON, ("authorization", f"Bearer {token_that_may_only_read()}")]
        ),
        *(403, "SCOPE_MISSING", "jwt:alice may not do classifier:predict"),
    ),
    *map(token_case, BAD_TOKENS),
)

NATIVE_CASES: Final = (*_VALUES, *_HEADERS, *_BODIES, *_CREDENTIALS)
