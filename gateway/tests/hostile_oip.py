"""The catalogue of hostile requests by the Open Inference Protocol over HTTP."""

import gzip
import json
from collections.abc import Callable
from typing import Any, Final

from hostile_http import JSON, bearer
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
from oip_calls import HEADER, INFER, binary_text, raw, text

_BINARY: Final[Pair] = ("content-type", "application/octet-stream")
_BOMB: Final = gzip.compress(bytes(BOMB_BYTES))
_TAIL: Final = raw(b"a")
_OVER: Final = f"and the limit is {MAX_MESSAGE_BYTES} bytes (MESH_MAX_MESSAGE_BYTES)"


def asking(**body: Any) -> bytes:
    """The JSON of a request."""
    return json.dumps(body).encode()


_GOOD: Final = asking(inputs=[text("a")])
_GOOD_BINARY: Final = asking(inputs=[binary_text(b"a")])


def infer_case(
    name: str,
    body: bytes,
    words: str,
    *headers: Pair,
    status: int = 400,
    path: str = INFER,
    whole: bool = True,
) -> HttpCase:
    """A request with the key that may do everything, and a body in JSON."""
    return HttpCase(
        name,
        lambda scene: request(path, body, [bearer(scene), JSON, *headers]),
        *(status, None, words),
        whole=whole,
    )


def tensor_case(name: str, words: str, /, **changes: Any) -> HttpCase:
    """A tensor that is changed."""
    return infer_case(name, asking(inputs=[{**text("a"), **changes}]), words)


def header_case(name: str, words: str, *values: str, tail: bytes = _TAIL) -> HttpCase:
    """A binary tensor, and the header as it is said."""
    headers = [(HEADER, value) for value in values]
    return HttpCase(
        f"{HEADER} {name}",
        lambda scene: request(INFER, _GOOD_BINARY + tail, [bearer(scene), _BINARY, *headers]),
        *(400, None, words),
    )


def binary_case(name: str, words: str, *inputs: dict[str, Any], tail: bytes = _TAIL) -> HttpCase:
    """Binary tensors under a header that is right."""
    content = asking(inputs=inputs)
    return HttpCase(
        name,
        lambda scene: request(
            INFER, content + tail, [bearer(scene), _BINARY, (HEADER, str(len(content)))]
        ),
        *(400, None, words),
    )


def credential_case(
    name: str, header: Callable[[Scene], Pair], status: int, words: str
) -> HttpCase:
    """A good request with a credential that is not."""
    return HttpCase(
        name, lambda scene: request(INFER, _GOOD, [JSON, header(scene)]), status, None, words
    )


def token_case(token: BadToken) -> HttpCase:
    """A token that proves nobody."""
    return credential_case(
        f"a token {token.name}",
        lambda _: ("authorization", f"Bearer {token.make()}"),
        *(401, token.words),
    )


def answer_case(over: int, status: int, words: str) -> HttpCase:
    """A good request whose answer is that much larger than may be."""

    def make(scene: Scene) -> bytes:
        body = asking(inputs=[text(scene.label("oip", over))])
        return request(INFER, body, [bearer(scene), JSON])

    return HttpCase(f"an answer at the limit {over:+}", make, status, None, words)


def _padded(size: int) -> bytes:
    return b" " * (size - len(_GOOD)) + _GOOD


_TENSORS: Final = (
    infer_case(
        "an unknown model",
        _GOOD,
        "there is no model 'weather'; GET /v2/models lists those that there are",
        status=404,
        path="/v2/models/weather/infer",
    ),
    infer_case(
        "an unknown version",
        _GOOD,
        "the version '9' of classifier is not served; ask for 'stand-in-1'",
        status=404,
        path="/v2/models/classifier/versions/9/infer",
    ),
    tensor_case("an unknown tensor", "txet is no input; the model takes text", name="txet"),
    tensor_case("an unknown datatype", "text has the datatype 'STRING'; send", datatype="STRING"),
    tensor_case("another datatype", "text is INT8; the model takes", datatype="INT8", data=[1]),
    tensor_case("a shape of more", "text has 1 elements and its shape takes 2", shape=[2]),
    tensor_case("a shape of another rank", "text has the shape [1, 1, 1]", shape=[1, 1, 1]),
    tensor_case("a shape below zero", "text has the size -1 in its shape", shape=[-1]),
    tensor_case("a shape beyond all", "has a shape of more than 2^63-1", shape=[2**40, 2**40]),
    tensor_case("an id in a tensor's place", "expected 'str', got 'int'", name=7),
    *(
        infer_case(
            f"{number.decode()} in JSON",
            _GOOD.replace(b'["a"]', b"[%b]" % number),
            "the body is not valid JSON",
        )
        for number in (b"NaN", b"Infinity", b"-Infinity")
    ),
    infer_case(
        "a number that FP32 can't hold",
        asking(inputs=[{**text("a"), "datatype": "FP32", "data": [1e300]}]),
        "text[0] is too large for FP32; send a smaller number",
    ),
    infer_case(
        "an id of 10 KB",
        asking(inputs=[text("a")], id=LONG_ID),
        "id has over 1024 bytes of UTF-8; send a shorter one",
    ),
)

_SIZE: Final = len(_GOOD_BINARY)
_BINARIES: Final = (
    header_case("short", "the body is not valid JSON", str(_SIZE - 1)),
    header_case("long, over the tensor", "the body is not valid JSON", str(_SIZE + 1)),
    header_case("beyond the body", f"and the body has {_SIZE + 5} bytes", str(_SIZE + 6)),
    header_case("negative", f"{HEADER} is '-1'; send how many bytes the JSON", "-1"),
    header_case("of no number", f"{HEADER} is 'all'; send how many bytes the JSON", "all"),
    header_case("twice", f"{HEADER} is there 2 times; send it once", str(_SIZE), str(_SIZE)),
    header_case("absent", "the body is not valid JSON"),
    header_case("absent, and nothing after the JSON", f"without the header {HEADER}", tail=b""),
    binary_case(
        "both raw and typed contents",
        "binary_data_size is 5 and there is data in the JSON too; send one of them",
        {**binary_text(b"a"), "data": ["a"]},
    ),
    binary_case(
        "tensors that overlap",
        "more.parameters.binary_data_size is 5 and 0 bytes are left; send all of its elements",
        binary_text(b"a"),
        {**binary_text(b"a"), "name": "more"},
    ),
    binary_case(
        "BYTES beyond the buffer",
        "text ends within element 0 of the 1 elements",
        binary_text(b"a"),
        tail=b"\xff\xff\xff\xff" + b"a",
    ),
    binary_case(
        "a length that is cut",
        "text ends within element 0 of the 1 elements",
        binary_text(b"a", size=3),
        tail=b"\1\0\0",
    ),
)

_BODIES: Final = (
    infer_case("a body at the limit -1", _padded(MAX_MESSAGE_BYTES - 1), '"a"', status=200),
    infer_case(
        "a body at the limit +1",
        _padded(MAX_MESSAGE_BYTES + 1),
        f"the body is {MAX_MESSAGE_BYTES + 1} bytes {_OVER}; send less at a time",
        status=413,
    ),
    HttpCase(
        "chunks at the limit +1",
        lambda scene: request(
            INFER,
            chunked(_padded(MAX_MESSAGE_BYTES + 1)),
            [bearer(scene), JSON, ("transfer-encoding", "chunked")],
            length=False,
        ),
        *(413, None, f"the body goes on {_OVER}; send less at a time"),
    ),
    answer_case(-1, 200, '"xxx'),
    answer_case(
        +1,
        413,
        f"the response has {MAX_MESSAGE_BYTES + 1} bytes {_OVER}; ask for less at a time",
    ),
    HttpCase(
        "a body that is slow",
        lambda scene: request(INFER, _GOOD, [bearer(scene), JSON, ("x-request-timeout-ms", "50")])[
            :-1
        ],
        *(504, None, "the deadline passed before the answer was ready; allow more time"),
        whole=False,
    ),
    infer_case(
        "a compressed bomb",
        _BOMB,
        "the header content-encoding is 'gzip'; send the body uncompressed",
        ("content-encoding", "gzip"),
        status=415,
    ),
    infer_case(
        "content-type twice",
        _GOOD,
        "the header content-type is 'application/json, text/plain'; send application/json or",
        ("content-type", "text/plain"),
        status=415,
    ),
)

_CREDENTIALS: Final = (
    credential_case(
        "a key whose scope does not cover the route",
        lambda scene: ("x-api-key", scene.reader.text),
        *(403, "may not do classifier:predict; use a key with that scope"),
    ),
    credential_case(
        "a token whose scope does not cover the route",
        lambda _: ("authorization", f"Bearer {token_that_may_only_read()}"),
        *(403, "jwt:alice may not do classifier:predict"),
    ),
    *map(token_case, BAD_TOKENS),
)

OIP_CASES: Final = (*_TENSORS, *_BINARIES, *_BODIES, *_CREDENTIALS)
