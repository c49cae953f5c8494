"""What is wrong with a request, in the status, type, param and code of OpenAI's API."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from llm_mesh import RoutedMesh, chat, error_of, refused
from processes import PATIENCE_S, until

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
JSON = {"content-type": "application/json"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
USER = {"role": "user", "content": "hi"}


@pytest.fixture
def client(llm_mesh: RoutedMesh) -> Iterator[httpx.Client]:
    with llm_mesh.client() as opened:
        yield opened


@pytest.mark.parametrize(
    ("more", "param", "code"),
    [
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": "hi"}, "messages", "invalid_type"),
        ({"messages": [{"role": "king", "content": "hi"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"content": "a"}]}, "messages[0].role", "missing_required_parameter"),
        (
            {"messages": [USER, {"role": "user"}]},
            "messages[1].content",
            "missing_required_parameter",
        ),
        ({"messages": [{**USER, "content": 7}]}, "messages[0].content", "invalid_type"),
        ({"messages": [{**USER, "content": []}]}, "messages[0].content", "empty_array"),
        ({"messages": [{**USER, "age": 7}]}, "messages[0].age", "unknown_parameter"),
        (
            {"messages": [{**USER, "content": [{"type": "input_audio"}]}]},
            "messages[0].content[0].type",
            "invalid_value",
        ),
        (
            {"messages": [{"role": "assistant"}]},
            "messages[0].content",
            "missing_required_parameter",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image_url", "image_url": {"url": "data:image/png;base64,%"}}
                        ],
                    }
                ]
            },
            "messages[0].content[0].image_url.url",
            "invalid_value",
        ),
        ({"model": ""}, "model", "empty_string"),
        ({"model": 7}, "model", "invalid_type"),
        ({"model": None}, "model", "invalid_type"),
        ({"temperature": 3}, "temperature", "decimal_above_max_value"),
        ({"temperature": -1}, "temperature", "decimal_below_min_value"),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"top_p": 1.5}, "top_p", "decimal_above_max_value"),
        ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"max_completion_tokens": -1}, "max_completion_tokens", "integer_below_min_value"),
        ({"max_tokens": 1.5}, "max_tokens", "invalid_type"),
        ({"max_tokens": 2**40}, "max_tokens", "integer_above_max_value"),
        (
            {"max_tokens": 1, "max_completion_tokens": 1},
            "max_tokens",
            "invalid_parameter_combination",
        ),
        ({"n": 0}, "n", "integer_below_min_value"),
        ({"n": 129}, "n", "integer_above_max_value"),
        ({"presence_penalty": 3}, "presence_penalty", "decimal_above_max_value"),
        ({"logit_bias": {"a": 1}}, "logit_bias", "invalid_type"),
        ({"logit_bias": {"1": 101}}, "logit_bias[...]", "decimal_above_max_value"),
        ({"seed": 2**70}, "seed", "integer_above_max_value"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"stream_options": {"include_usage": True}}, "stream_options", None),
        ({"stream": True, "stream_options": {"x": 1}}, "stream_options.x", "unknown_parameter"),
        ({"logprobs": 1}, "logprobs", "invalid_type"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "integer_above_max_value"),
        ({"top_logprobs": 2}, "top_logprobs", None),
        ({"tools": [{"type": "code"}]}, "tools[0].type", "invalid_value"),
        ({"tools": [{"function": {"name": "f"}}]}, "tools[0].type", "missing_required_parameter"),
        ({"tools": [TOOL], "tool_choice": "sometimes"}, "tool_choice", "invalid_value"),
        ({"tool_choice": "auto"}, "tool_choice", None),
        ({"parallel_tool_calls": True}, "parallel_tool_calls", None),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        (
            {"response_format": {"type": "json_schema"}},
            "response_format.json_schema",
            "missing_required_parameter",
        ),
        ({"structured_outputs": {}}, "structured_outputs", None),
        ({"structured_outputs": {"regex": "a", "grammar": "b"}}, "structured_outputs", None),
        ({"store": True}, "store", "unsupported_parameter"),
        ({"modalities": ["audio"]}, "modalities", "unsupported_parameter"),
        ({"functions": []}, "functions", "unsupported_parameter"),
        ({"temprature": 1}, "temprature", "unknown_parameter"),
    ],
)
def test_a_parameter_that_is_wrong(
    client: httpx.Client, more: dict[str, Any], param: str, code: str | None
) -> None:
    refused(client.post(CHAT, json=chat("hi", **more)), param, code)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        json.dumps(chat("hi")).encode() + b" 1",
        json.dumps(chat("hi", temperature=1)).replace("1", "NaN").encode(),
        json.dumps(chat("hi", metadata={"a": 1})).replace("1", "Infinity").encode(),
        json.dumps(chat("hi")).encode().replace(b"hi", b"\xff"),
        json.dumps(chat("hi", metadata=0)).replace("0", "[" * 10_000 + "]" * 10_000).encode(),
        b'{"metadata":' * 10_000,
    ],
    ids=["none", "cut", "list", "null", "more", "NaN", "Infinity", "UTF-8", "deep", "deeper"],
)
def test_a_body_that_is_no_json(client: httpx.Client, body: bytes) -> None:
    refused(client.post(CHAT, content=body, headers=JSON), None, None)


@pytest.mark.parametrize(
    ("twice", "param"),
    [
        (b'"model":"llm","model":"llm"', "model"),
        (b'"model":"llm","mod\\u0065l":"llm"', "model"),
        (b'"model":"llm","metadata":{"a":{"b":1,"b":2}}', "b"),
    ],
)
def test_a_key_that_stands_twice(client: httpx.Client, twice: bytes, param: str) -> None:
    body = b'{"messages":[{"role":"user","content":"hi"}],' + twice + b"}"
    refused(client.post(CHAT, content=body, headers=JSON), param, "duplicate_key")


def test_keys_of_different_objects_may_be_alike(client: httpx.Client) -> None:
    body = chat(
        'say "model": {"model"', metadata={"model": {"model": "\\"}, "x": [{"a": 1}, {"a": 1}]}
    )
    assert client.post(CHAT, json=body).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_there_is_not(client: httpx.Client, stream: bool) -> None:
    error = error_of(client.post(CHAT, json={**chat("hi", stream=stream), "model": "gpt-9"}), 404)
    assert error["type"] == "invalid_request_error"
    assert error["code"] == "model_not_found"


def test_no_key_and_a_wrong_one(llm_mesh: RoutedMesh) -> None:
    url = f"{llm_mesh.gateway.url}{CHAT}"
    for headers in ({}, {"authorization": "Bearer mesh_a_wrong"}):
        error = error_of(httpx.post(url, json=chat("hi"), headers=headers), 401)
        assert error["type"] == "invalid_request_error"
        assert error["code"] == "invalid_api_key"


def test_a_key_for_something_else(llm_mesh: RoutedMesh) -> None:
    with llm_mesh.client(llm_mesh.make_key()) as client:
        assert error_of(client.post(CHAT, json=chat("hi")), 403)["code"] == "scope_missing"


def test_another_content_type(client: httpx.Client) -> None:
    body = json.dumps(chat("hi")).encode()
    for headers in ({"content-type": "text/plain"}, {**JSON, "content-encoding": "gzip"}):
        error = error_of(client.post(CHAT, content=body, headers=headers), 415)
        assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_of_100_mb(llm_mesh: RoutedMesh, declared: bool) -> None:
    """It is refused before it is read, or when it has grown over the limit."""
    head = (
        f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {llm_mesh.key.text}\r\n"
        "content-type: application/json\r\n"
    )
    address = ("127.0.0.1", llm_mesh.gateway.port)
    with socket.create_connection(address, PATIENCE_S) as connection:
        if declared:
            connection.sendall(f"{head}content-length: {100 * 2**20}\r\n\r\n".encode())
        else:
            connection.sendall(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
            piece = b"%x\r\n%b\r\n" % (2**20, b" " * 2**20)
            for _ in range(5):
                connection.sendall(piece)
        answer = connection.recv(65536).decode()
    assert answer.startswith("HTTP/1.1 413 ")
    assert '"code":"payload_too_large"' in answer
    assert '"type":"invalid_request_error"' in answer
    until(llm_mesh.at_rest, "rest")


def test_a_user_that_would_be_a_header(client: httpx.Client) -> None:
    answer = client.post(CHAT, json=chat("hi", user="x\r\nset-cookie: a=b"))
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_another_method(client: httpx.Client, method: str) -> None:
    assert error_of(client.request(method, CHAT), 405)["type"] == "invalid_request_error"


def test_a_path_below_that_there_is_not(client: httpx.Client) -> None:
    assert error_of(client.get(f"{CHAT}/abc"), 404)["code"] == "route_not_found"


@pytest.mark.parametrize(
    ("more", "param", "code"),
    [
        ({"prompt": []}, "prompt", "empty_array"),
        ({"prompt": [[1], []]}, "prompt[1]", "empty_array"),
        ({"prompt": ["a", [1]]}, "prompt[1]", "invalid_type"),
        ({"prompt": [1, "a"]}, "prompt[0]", "invalid_type"),
        ({"prompt": [-1]}, "prompt[0]", "integer_below_min_value"),
        ({"prompt": {}}, "prompt", "invalid_type"),
        ({"logprobs": 6}, "logprobs", "integer_above_max_value"),
        ({"echo": True}, "echo", "unsupported_parameter"),
        ({"suffix": "x"}, "suffix", "unsupported_parameter"),
        ({"best_of": 3}, "best_of", "unsupported_parameter"),
        ({"messages": []}, "messages", "unknown_parameter"),
    ],
)
def test_a_completion_that_is_wrong(
    client: httpx.Client, more: dict[str, Any], param: str, code: str
) -> None:
    refused(client.post(COMPLETIONS, json={"model": "llm", "prompt": "hi", **more}), param, code)


def test_values_that_ask_for_nothing_pass(client: httpx.Client) -> None:
    body = {"model": "llm", "prompt": "hi", "echo": False, "suffix": None, "best_of": 1}
    assert client.post(COMPLETIONS, json=body).status_code == 200
    nothing: dict[str, Any] = {
        "store": False,
        "modalities": ["text"],
        "audio": None,
        "functions": None,
    }
    assert client.post(CHAT, json=chat("hi", **nothing)).status_code == 200
