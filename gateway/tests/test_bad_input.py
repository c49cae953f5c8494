"""Bad input over real HTTP: each says which field is wrong and what to do."""

import json
import socket
from collections.abc import Iterator

import httpx
import pytest

from problems import problem
from processes import PATIENCE_S, Mesh, until
from stand_in import MAX_TEXT_BYTES, MAX_TEXTS

MOST_BODY_BYTES = 4 * 1024 * 1024
CLASSIFY = "/v1/classify"


def post(client: httpx.Client, body: bytes, **headers: str) -> httpx.Response:
    return client.post(
        CLASSIFY, content=body, headers={"content-type": "application/json", **headers}
    )


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"texts": []}, "texts", "texts is empty; send one text at least"),
        ({"texts": [""]}, "texts[0]", "texts[0] is empty"),
        ({"texts": ["a", " \n\t"]}, "texts[1]", "texts[1] is empty"),
        ({"texts": ["a", "b" * (MAX_TEXT_BYTES + 1)]}, "texts[1]", f"over {MAX_TEXT_BYTES} bytes"),
        ({"texts": ["a", "\u00e9" * MAX_TEXT_BYTES]}, "texts[1]", "send a shorter text"),
        ({"texts": ["a"] * (MAX_TEXTS + 1)}, "texts", f"at most {MAX_TEXTS}"),
    ],
)
def test_what_the_service_refuses(
    client: httpx.Client, body: dict[str, object], field: str, words: str
) -> None:
    refusal = problem(client.post(CLASSIFY, json=body), 400)
    assert words in refusal["detail"]
    assert [violation["field"] for violation in refusal["violations"]] == [field]
    assert (refusal["code"], refusal["retryable"]) == ("INVALID_ARGUMENT", False)


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"texts": "a"}, "texts", "expected 'array', got 'str'"),
        ({"texts": None}, "texts", "expected 'array', got 'null'"),
        ({"texts": ["a", 1]}, "texts[1]", "expected 'str', got 'int'"),
        ({"texts": ["a"], "allow_degraded": "yes"}, "allow_degraded", "expected 'bool', got 'str'"),
        ({"texts": ["a"], "allow_degraded": 1}, "allow_degraded", "expected 'bool', got 'int'"),
        ({"texts": ["a"], "txets": ["b"]}, "body", "unknown field 'txets'"),
        ({}, "body", "missing required field 'texts'"),
        ([], "body", "expected 'object', got 'array'"),
        (None, "body", "expected 'object', got 'null'"),
    ],
)
def test_the_wrong_type(client: httpx.Client, body: object, field: str, words: str) -> None:
    refusal = problem(post(client, json.dumps(body).encode()), 400)
    assert words in refusal["detail"]
    assert "/openapi.json" in refusal["detail"]
    assert [violation["field"] for violation in refusal["violations"]] == [field]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"texts",
        b'{"texts": ["a"]} more',
        b"{'texts': ['a']}",
        b'{"texts": ["\\ud800"]}',
        b'\xef\xbb\xbf{"texts": ["a"]}',
        b'{"texts": ' + b"[" * 100_000,
    ],
)
def test_what_is_not_json(client: httpx.Client, body: bytes) -> None:
    refusal = problem(post(client, body), 400)
    assert refusal["reason"] in ("BODY_NOT_JSON", "INVALID_ARGUMENT")
    assert "body" in refusal["detail"] or "texts" in refusal["detail"]


def test_invalid_utf8_is_a_problem_too(client: httpx.Client) -> None:
    refusal = problem(post(client, b'{"texts": ["caf\xe9"]}'), 400)
    assert refusal["reason"] == "BODY_NOT_UTF8"
    assert "not valid UTF-8 (byte 15); send JSON encoded as UTF-8" in refusal["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "text/plain; charset=utf-8"},
        {"content-encoding": "gzip"},
    ],
)
def test_another_media_type(client: httpx.Client, headers: dict[str, str]) -> None:
    refusal = problem(post(client, b'{"texts": ["a"]}', **headers), 415)
    assert [each["field"] for each in refusal["violations"]] == list(headers)


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_the_media_type_of_json_has_many_forms(client: httpx.Client, media_type: str) -> None:
    response = post(client, b'{"texts": ["a"]}', **{"content-type": media_type})
    assert response.status_code == 200


@pytest.mark.parametrize("timeout", ["0", "-1", "1.5", "soon", "", "1e3", "\u0663"])
def test_a_deadline_that_is_none(client: httpx.Client, timeout: str) -> None:
    headers = [(b"x-request-timeout-ms", timeout.encode())]
    response = client.post(CLASSIFY, json={"texts": ["a"]}, headers=headers)
    refusal = problem(response, 400)
    assert "x-request-timeout-ms" in refusal["detail"]
    assert "whole number of milliseconds" in refusal["detail"]
    assert refusal["violations"][0]["field"] == "x-request-timeout-ms"


def test_a_deadline_that_passes(mesh: Mesh, client: httpx.Client) -> None:
    before = mesh.service.counts().get("cancelled", 0)
    response = client.post(
        CLASSIFY, json={"texts": ["wait"]}, headers={"x-request-timeout-ms": "100"}
    )
    refusal = problem(response, 504)
    assert refusal["code"] == "DEADLINE_EXCEEDED"
    assert mesh.service.counts()["cancelled"] == before + 1


def body_of(size: int) -> bytes:
    """A valid body of that many bytes, whose size is in its texts."""
    frame = len(b'{"texts":["",""]}')
    half = (size - frame) // 2
    return b'{"texts":["%b","%b"]}' % (b"a" * half, b"b" * (size - frame - half))


def test_a_body_over_its_limit(client: httpx.Client) -> None:
    refusal = problem(post(client, body_of(MOST_BODY_BYTES + 1)), 413)
    assert refusal["reason"] == "PAYLOAD_TOO_LARGE"
    assert str(MOST_BODY_BYTES) in refusal["detail"]


def test_a_body_at_its_limit_is_read(client: httpx.Client) -> None:
    refusal = problem(post(client, body_of(MOST_BODY_BYTES)), 400)
    assert refusal["violations"][0]["field"] == "texts[0]"


def chunks(size: int) -> Iterator[bytes]:
    body = body_of(size)
    for start in range(0, size, 100_000):
        yield body[start : start + 100_000]


def test_a_body_over_its_limit_in_chunks(client: httpx.Client) -> None:
    response = client.post(CLASSIFY, content=chunks(MOST_BODY_BYTES + 1))
    assert problem(response, 413)["reason"] == "PAYLOAD_TOO_LARGE"


def test_a_body_at_its_limit_in_chunks(client: httpx.Client) -> None:
    response = client.post(CLASSIFY, content=chunks(MOST_BODY_BYTES))
    assert problem(response, 400)["violations"][0]["field"] == "texts[0]"


def test_a_body_in_many_small_parts(client: httpx.Client) -> None:
    body = b'{"texts": ["one", "two"]}'
    response = client.post(CLASSIFY, content=(body[i : i + 1] for i in range(len(body))))
    assert [result["label"] for result in response.json()["results"]] == ["one", "two"]


def test_a_declared_body_over_its_limit_is_refused_before_it_is_sent(mesh: Mesh) -> None:
    with socket.create_connection(("127.0.0.1", mesh.gateway.port), PATIENCE_S) as connection:
        connection.sendall(
            b"POST /v1/classify HTTP/1.1\r\nhost: mesh\r\nexpect: 100-continue\r\n"
            b"content-length: 999999999\r\n\r\n"
        )
        assert connection.recv(1024).startswith(b"HTTP/1.1 413 ")


def test_an_unknown_route(client: httpx.Client) -> None:
    refusal = problem(client.get("/v1/clasify"), 404)
    assert "nothing at /v1/clasify; /docs lists" in refusal["detail"]
    assert refusal["reason"] == "ROUTE_NOT_FOUND"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", CLASSIFY, "POST"), ("DELETE", "/health", "GET"), ("PUT", "/openapi.json", "GET")],
)
def test_the_wrong_method(client: httpx.Client, method: str, path: str, allowed: str) -> None:
    response = client.request(method, path)
    refusal = problem(response, 405)
    assert f"{path} does not take {method}; use {allowed}" in refusal["detail"]
    assert response.headers["allow"] == allowed


def test_a_fault_of_ours_says_nothing_of_itself(mesh: Mesh, client: httpx.Client) -> None:
    response = client.post(CLASSIFY, json={"texts": ["fault"]}, headers={"x-request-id": "fault-1"})
    assert problem(response, 500)["code"] == "INTERNAL"
    assert "secret" not in response.text
    until(lambda: '"request_id": "fault-1"' in mesh.service.log, "the line in the service's log")
    assert "a secret of the implementation" in mesh.service.log


def test_shed_load_says_when_to_come_back(client: httpx.Client) -> None:
    response = client.post(CLASSIFY, json={"texts": ["overloaded"]})
    refusal = problem(response, 503)
    assert (refusal["reason"], refusal["retryable"]) == ("OVERLOADED", True)
    assert response.headers["retry-after"] == "3"
