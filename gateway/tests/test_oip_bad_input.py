"""Bad input on the Open Inference Protocol: a status, and a message that says what to do."""

import gzip
import json
import socket
from typing import Any

import httpx
import pytest

from meshkit.rates import Rate
from oip_calls import (
    HEADER,
    INFER,
    MODEL,
    binary_text,
    infer,
    infer_binary,
    output,
    raw,
    refusal,
    text,
)
from processes import PATIENCE_S, Mesh, until

BODY = json.dumps({"inputs": [text("a")]}).encode()
MOST_BODY_BYTES = 4 * 1024 * 1024


def tensor(**changes: Any) -> dict[str, Any]:
    return {**text("a"), **changes}


def post(client: httpx.Client, body: bytes, **headers: str) -> httpx.Response:
    return client.post(INFER, content=body, headers={"content-type": "application/json", **headers})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"inputs": []}, "text is missing; the model takes text"),
        ({}, "missing required field 'inputs'"),
        ({"inputs": "a"}, "inputs: expected 'array', got 'str'"),
        ({"inputs": [{}]}, "inputs[0]: object missing required field 'name'"),
        ({"inputs": [tensor(name="txet")]}, "txet is no input; the model takes text"),
        ({"inputs": [tensor(), tensor()]}, "text is an input twice; send it once"),
        ({"inputs": [tensor(datatype="STRING")]}, "text has the datatype 'STRING'; send one of"),
        ({"inputs": [tensor(datatype="BF16")]}, "text has the datatype 'BF16'; send one of BOOL"),
        ({"inputs": [tensor(datatype="INT8", data=[1])]}, "text is INT8; the model takes BYTES"),
        ({"inputs": [tensor(datatype="FP16", data=[1])]}, "text is FP16, which has no form in"),
        ({"inputs": [tensor(shape=[2])]}, "text has 1 elements and its shape takes 2; send as"),
        ({"inputs": [tensor(shape=[0], data=[])]}, "text has the size 0 in its shape; send sizes"),
        ({"inputs": [tensor(shape=[-1])]}, "text has the size -1 in its shape"),
        ({"inputs": [tensor(shape=[2**40, 2**40])]}, "has a shape of more than 2^63-1 elements"),
        ({"inputs": [tensor(shape=[2**70])]}, "has a shape of more than 2^63-1 elements"),
        ({"inputs": [tensor(shape=[10**18])]}, "its shape takes 1000000000000000000"),
        ({"inputs": [tensor(shape=[1] * 33)]}, "text has 33 dimensions and may have 32"),
        ({"inputs": [tensor(shape="1")]}, "inputs[0].shape: expected 'array', got 'str'"),
        ({"inputs": [tensor(shape=[1.5])]}, "inputs[0].shape[0]: expected 'int', got 'float'"),
        ({"inputs": [tensor(shape=[1, 1, 1])]}, "text has the shape [1, 1, 1]; the model takes"),
        ({"inputs": [tensor(data=[1])]}, "text[0]: expected 'str', got 'int'"),
        ({"inputs": [tensor(data=None)]}, "text: expected 'array', got 'null'"),
        ({"inputs": [tensor(data=[["a"]])]}, "text[0]: expected 'str', got 'array'"),
        (
            {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES"}]},
            "text has no data; send its elements, or binary_data_size and them after the JSON",
        ),
        ({"inputs": [tensor()], "outputs": [{"name": "x"}]}, "outputs[0] is 'x'; choose from lab"),
        (
            {"inputs": [tensor()], "outputs": [{"name": "label"}, {"name": "label"}]},
            "outputs[1] is 'label' again; ask for it once",
        ),
        ({"inputs": [tensor()], "id": "\u00e9" * 513}, "id has over 1024 bytes of UTF-8"),
        ({"inputs": [tensor()], "id": 7}, "id: expected 'str', got 'int'"),
        ({"inputs": [tensor()], "parameters": {"a": None}}, "parameters"),
        ({"inputs": [tensor()], "parameters": {"a": 2**64}}, "parameters[a] does not fit into 64"),
        (
            {"inputs": [tensor()], "parameters": {"binary_data_output": 1}},
            "parameters.binary_data_output is '1'; send true or false",
        ),
        (
            {
                "inputs": [tensor()],
                "outputs": [{"name": "label", "parameters": {"binary_data": ""}}],
            },
            "outputs[0].parameters.binary_data is ''; send true or false",
        ),
        ({"inputs": [text("a", " ")]}, "texts[1] is empty; send some words"),
        ({"inputs": [tensor(name="n" * 5000)]}, "n" * 100 + "... is no input"),
    ],
)
def test_the_tensor_or_the_field_is_named(
    client: httpx.Client, body: dict[str, Any], words: str
) -> None:
    assert words in refusal(infer(client, **body), 400)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "the body is not valid JSON"),
        (b"[]", "body: expected 'object', got 'array'"),
        (BODY.replace(b'["a"]', b"[NaN]"), "the body is not valid JSON"),
        (BODY.replace(b'["a"]', b"[-Infinity]"), "the body is not valid JSON"),
        (BODY.replace(b'["a"]', b'["\xff"]'), "text is not valid UTF-8 (byte 2)"),
        (BODY.replace(b'["a"]', b'["a"'), "the body is not valid JSON"),
        (BODY.replace(b'["a"]', b"[" * 100_000), "the body is nested too deep"),
        (b'{"more": ' + b"[" * 1_000_000, "the body is nested too deep"),
        (b'{"more": ' + b'{"a":' * 500_000, "the body is nested too deep"),
    ],
)
def test_what_is_not_json(client: httpx.Client, body: bytes, words: str) -> None:
    assert words in refusal(post(client, body), 400)


ONE = raw(b"a")


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("0", "the body is not valid JSON"),
        ("{less}", "the body is not valid JSON"),
        ("{more}", "the body is not valid JSON"),
        ("{beyond}", "and the body has"),
        ("-1", "is '-1'; send how many bytes the JSON at the body's beginning has"),
        ("+5", "is '+5'; send how many bytes"),
        ("1e2", "is '1e2'; send how many bytes"),
        ("json", "is 'json'; send how many bytes"),
        ("9999999999999", "is '9999999999999'; send how many bytes"),
        ("\u0663", "send how many bytes"),
    ],
)
def test_a_header_that_does_not_end_the_json(client: httpx.Client, header: str, words: str) -> None:
    content = json.dumps({"inputs": [binary_text(b"a")]}).encode()
    size = len(content)
    value = header.format(less=size - 1, more=size + 1, beyond=size + len(ONE) + 1)
    headers = [(b"content-type", b"application/octet-stream"), (HEADER.encode(), value.encode())]
    response = client.post(INFER, content=content + ONE, headers=headers)
    assert words in refusal(response, 400)


def test_a_header_that_is_there_twice(client: httpx.Client) -> None:
    content = json.dumps({"inputs": [binary_text(b"a")]}).encode()
    headers = [(HEADER.encode(), str(len(content)).encode())] * 2
    response = client.post(INFER, content=content + ONE, headers=headers)
    assert refusal(response, 400) == f"{HEADER} is there 2 times; send it once"


def test_a_header_that_is_missing(client: httpx.Client) -> None:
    response = infer(client, inputs=[binary_text(b"a")])
    assert refusal(response, 400) == (
        f"text.parameters.binary_data_size is 5 without the header {HEADER}; send it too"
    )
    # And with the bytes after the JSON, which then is none.
    content = json.dumps({"inputs": [binary_text(b"a")]}).encode()
    assert "not valid JSON" in refusal(post(client, content + ONE), 400)


@pytest.mark.parametrize(
    ("inputs", "tail", "words"),
    [
        ([binary_text(b"a", size=6)], ONE, "binary_data_size is 6 and 5 bytes are left; send all"),
        ([binary_text(b"a", size=4)], ONE, "leaves 5 bytes after the JSON and the inputs' binary"),
        ([binary_text(b"a", size=5)], ONE + b"x", "leaves 6 bytes after the JSON"),
        ([text("a")], ONE, "leaves 5 bytes after the JSON and the inputs' binary_data_size make 0"),
        ([binary_text(b"a", size=-1)], ONE, "binary_data_size is '-1'; send a number of bytes"),
        ([binary_text(b"a", size="5")], ONE, "binary_data_size is '5'; send a number of bytes"),
        ([binary_text(b"a", size=5.0)], ONE, "is '5.0'; send a number of bytes"),
        ([binary_text(b"a", size=True)], ONE, "is 'True'; send a number of bytes"),
        ([binary_text(b"a", size=2**70)], ONE, "and 5 bytes are left"),
        (
            [{**binary_text(b"a"), "data": ["a"]}],
            *(ONE, "binary_data_size is 5 and there is data in the JSON too; send one of them"),
        ),
        (
            [binary_text(b"a"), {**binary_text(b"a"), "name": "more"}],
            *(ONE, "more.parameters.binary_data_size is 5 and 0 bytes are left"),
        ),
        ([binary_text(b"a", size=0)], b"", "text ends within element 0 of the 1 elements"),
        ([binary_text(b"a")], b"\x09\0\0\0a", "text ends within element 0"),
        ([binary_text(b"a")], b"\0\0\0\0a", "text has 1 bytes after the last of the 1"),
        (
            [{**binary_text(b"abcd"), "datatype": "INT32", "shape": [1]}],
            *(raw(b"abcd"), "text has 8 bytes and its shape takes 4 of INT32"),
        ),
        ([{**binary_text(b"a"), "shape": [10**18]}], ONE, "text ends within element 1"),
        ([{**binary_text(b"a"), "shape": [0]}], ONE, "text has the size 0 in its shape"),
    ],
)
def test_binary_sizes_that_do_not_add_up(
    client: httpx.Client, inputs: list[dict[str, Any]], tail: bytes, words: str
) -> None:
    assert words in refusal(infer_binary(client, tail, inputs=inputs), 400)


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-encoding": "gzip"},
        {"content-encoding": "deflate"},
    ],
)
def test_another_media_type_or_a_compressed_body(
    client: httpx.Client, headers: dict[str, str]
) -> None:
    message = refusal(post(client, gzip.compress(BODY), **headers), 415)
    assert message.startswith(f"the header {next(iter(headers))} is ")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v2/models/weather", "there is no model 'weather'; GET /v2/models lists those"),
        ("/v2/models/weather/ready", "there is no model 'weather'"),
        ("/v2/models/weather/infer", "there is no model 'weather'"),
        (
            f"{MODEL}/versions/2",
            "the version '2' of classifier is not served; ask for 'stand-in-1'",
        ),
        (f"{MODEL}/versions/2/ready", "the version '2' of classifier is not served"),
        (f"{MODEL}/versions/2/infer", "the version '2' of classifier is not served"),
        ("/v2/", "there is nothing at /v2/; /docs lists what there is"),
        ("/v2/repository/index", "there is nothing at /v2/repository/index"),
        (f"{MODEL}/versions", "there is nothing at"),
    ],
)
def test_what_is_not_there(client: httpx.Client, path: str, words: str) -> None:
    post_it = path.endswith("/infer")
    response = client.post(path, content=BODY) if post_it else client.get(path)
    assert words in refusal(response, 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", INFER, "POST"), ("POST", MODEL, "GET"), ("DELETE", "/v2/health/live", "GET")],
)
def test_the_wrong_method(client: httpx.Client, method: str, path: str, allowed: str) -> None:
    response = client.request(method, path)
    assert f"{path} does not take {method}; use {allowed}" in refusal(response, 405)
    assert allowed in response.headers["allow"]


def test_paths_beside_the_protocol_keep_their_problems(client: httpx.Client) -> None:
    response = client.get("/v22")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/v2/models", MODEL, f"{MODEL}/ready", "/v2/models/weather"])
def test_a_stranger_learns_nothing(mesh: Mesh, path: str) -> None:
    response = httpx.get(mesh.gateway.url + path)
    assert "key" in refusal(response, 401)
    assert response.headers["www-authenticate"] == 'Bearer realm="mesh"'


@pytest.mark.parametrize(("scope", "status"), [("classifier:read", 403), ("classifier", 200)])
def test_a_key_needs_the_scope(mesh: Mesh, scope: str, status: int) -> None:
    with mesh.client(mesh.make_key(scopes=frozenset({scope}))) as client:
        assert client.get(MODEL).status_code == 200
        response = infer(client, inputs=[text("a")])
        assert response.status_code == status
        if status == 403:
            assert "may not do classifier:predict" in refusal(response, 403)


def test_a_body_over_its_limit(client: httpx.Client) -> None:
    message = refusal(post(client, b" " * (MOST_BODY_BYTES + 1)), 413)
    assert "the limit is 4194304 bytes (MESH_MAX_MESSAGE_BYTES)" in message


def test_numbers_that_grow_too_large_as_tensors(client: httpx.Client) -> None:
    count = 1_500_000
    data = b"[" + b"1," * (count - 1) + b"1]"
    head = b'{"inputs":[{"name":"text","shape":[%d],"datatype":"FP64","data":' % count
    message = refusal(post(client, head + data + b"}]}"), 413)
    assert "bytes once their numbers are binary and the limit is 8454144" in message


def test_a_body_at_its_limit_reaches_the_model(client: httpx.Client) -> None:
    frame = len(json.dumps({"inputs": [text("")]}).encode())
    response = post(
        client, json.dumps({"inputs": [text("a" * (MOST_BODY_BYTES - frame))]}).encode()
    )
    assert "texts[0] is over 65536 bytes" in refusal(response, 400)


def test_a_deadline_that_is_none_or_passes(client: httpx.Client) -> None:
    message = refusal(post(client, BODY, **{"x-request-timeout-ms": "soon"}), 400)
    assert "whole number of milliseconds" in message
    late = post(client, BODY.replace(b'"a"', b'"wait"'), **{"x-request-timeout-ms": "100"})
    refusal(late, 504)


def test_a_caller_that_leaves_cancels_its_work(mesh: Mesh) -> None:
    def count(what: str) -> int:
        return mesh.service.counts().get(what, 0)

    begun, cancelled = count("begun"), count("cancelled")
    body = BODY.replace(b'"a"', b'"wait"')
    head = f"POST {INFER} HTTP/1.1\r\nhost: mesh\r\nauthorization: Bearer {mesh.key.text}\r\n"
    with socket.create_connection(("127.0.0.1", mesh.gateway.port), PATIENCE_S) as connection:
        connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        until(lambda: count("begun") == begun + 1, "the work's beginning")
    until(lambda: count("cancelled") == cancelled + 1, "the work's cancellation")


@pytest.mark.parametrize(
    ("word", "status", "message"),
    [
        ("overloaded", 503, "the queue of the classifier is full"),
        ("item error", 500, "the model failed"),
        ("fault", 500, "internal error; the log of the service has the cause under this"),
    ],
)
def test_what_the_service_says(client: httpx.Client, word: str, status: int, message: str) -> None:
    response = infer(client, inputs=[text(word)])
    assert message in refusal(response, status)
    assert response.headers.get("retry-after") == ("3" if word == "overloaded" else None)


def test_a_quota_is_told_in_headers(mesh: Mesh) -> None:
    with mesh.client(mesh.make_key(rate=Rate(1, "h", 1))) as client:
        assert output(infer(client, inputs=[text("a")])) == ["a"]
        response = infer(client, inputs=[text("a")])
        assert "limit" in refusal(response, 429)
        assert response.headers["ratelimit-policy"] == '"key";q=1;w=3600'
        assert int(response.headers["retry-after"]) > 3000
