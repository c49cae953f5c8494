"""A request to OpenAI's API that comes whole is answered as one that comes in pieces."""

import json
import re
from typing import Any

import pytest

from llm_mesh import RoutedMesh
from raw_http import connect, keyed, rest

_CLOSE = b"connection: close"
_SAID = [{"role": "user", "content": "say hello"}]
GOOD: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "gpt-4o-mini", "messages": _SAID},
    "/v1/responses": {"model": "llm", "input": _SAID},
    "/v1/completions": {"model": "llm", "prompt": "say hello"},
    "/v1/embeddings": {"model": "text-embedding-3-small", "input": "hello"},
}
CHANGES: dict[str, dict[str, Any]] = {
    "good": {},
    "an unknown model": {"model": "unknown"},
    "an unknown parameter": {"colour": "red"},
    "no stream": {"stream": False},
}
# New with every answer, or as far as the limits are.
_VARYING = re.compile(rb"[0-9a-f]{24,}|\"created(?:_at)?\":\d+|_[A-Za-z0-9]{20,}")
_LEVELS = {"x-request-id", "server-timing", "date", "ratelimit"}


def answer(mesh: RoutedMesh, path: str, body: bytes, *, whole: bool) -> tuple[bytes, Any, bytes]:
    """Status line, headers, and the body, without what is new every time."""
    line = f"POST {path} HTTP/1.1".encode()
    with connect(mesh) as connection:
        if whole:
            connection.sendall(keyed(mesh, _CLOSE, body=body, line=line))
        else:
            sent = keyed(mesh, _CLOSE, b"expect: 100-continue", body=body, line=line)
            connection.sendall(sent.removesuffix(body))
            assert connection.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(body)
        head, _, content = rest(connection).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(each.split(": ", 1) for each in lines)
    same = {
        name: "" if name in _LEVELS or name.startswith("x-ratelimit") else value
        for name, value in headers.items()
    }
    if size := same.pop("content-length", None):
        assert int(size) == len(content)
    return status.encode(), same, _VARYING.sub(b"", content)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("path", GOOD)
def test_both_ways_have_the_same_answer(
    llm_mesh: RoutedMesh, path: str, change: dict[str, Any]
) -> None:
    body = json.dumps(GOOD[path] | change).encode()
    direct = answer(llm_mesh, path, body, whole=True)
    assert direct == answer(llm_mesh, path, body, whole=False)
    assert "x-request-id" in direct[1]
    if not change:
        assert direct[0] == b"HTTP/1.1 200 OK"
        assert {"x-mesh-model", "ratelimit", "x-ratelimit-remaining-requests"} <= direct[1].keys()


@pytest.mark.parametrize(
    "name",
    [b'"stream"', b'"str\\u0065am"', b'"\\u0073tream"', b'"user": "\\"stream\\": false", "stream"'],
)
@pytest.mark.parametrize("path", [path for path in GOOD if path != "/v1/embeddings"])
def test_a_stream_is_one_however_its_name_is_written(
    llm_mesh: RoutedMesh, path: str, name: bytes
) -> None:
    body = json.dumps(GOOD[path]).encode().replace(b"{", b"{" + name + b": true, ", 1)
    status, headers, events = answer(llm_mesh, path, body, whole=True)
    assert status == b"HTTP/1.1 200 OK"
    assert headers["content-type"].startswith("text/event-stream")
    assert events.count(b"data: ") > 1
