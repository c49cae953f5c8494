"""What is wrong with a request, in the status, type, param and code of OpenAI's API."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from llm_mesh import RoutedMesh, chat, error_of
from processes import PATIENCE_S, until

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
RESPONSES = "/v1/responses"
JSON = {"content-type": "application/json"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
FLAT_TOOL = {"type": "function", "name": "f", "parameters": {}}
USER = {"role": "user", "content": "hi"}


@pytest.fixture
def client(llm_mesh: RoutedMesh) -> Iterator[httpx.Client]:
    with llm_mesh.client() as opened:
        yield opened


def refused(answer: httpx.Response, param: str | None, code: str | None) -> None:
    """Says that it is the caller's mistake, and where."""
    error = error_of(answer, 400)
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)


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


@pytest.mark.parametrize(
    ("more", "param", "code"),
    [
        ({"input": []}, "input", "empty_array"),
        ({"input": 7}, "input", "invalid_type"),
        ({"input": ["hi"]}, "input[0]", "invalid_type"),
        ({"input": [{**USER, "role": "king"}]}, "input[0].role", "invalid_value"),
        ({"input": [{**USER, "role": "tool"}]}, "input[0].role", "invalid_value"),
        ({"input": [{"content": "hi"}]}, "input[0].role", "missing_required_parameter"),
        ({"input": [USER, {"role": "user"}]}, "input[1].content", "missing_required_parameter"),
        ({"input": [{**USER, "content": []}]}, "input[0].content", "empty_array"),
        ({"input": [{**USER, "age": 7}]}, "input[0].age", "unknown_parameter"),
        ({"input": [{"type": "item_reference", "id": "1"}]}, "input[0].type", "invalid_value"),
        ({"input": [{"type": None}]}, "input[0].type", "invalid_type"),
        (
            {"input": [{"type": "function_call_output"}]},
            "input[0].call_id",
            "missing_required_parameter",
        ),
        (
            {"input": [{**USER, "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input[0].content[0].type",
            "invalid_value",
        ),
        (
            {"input": [{**USER, "content": [{"type": "input_file", "file_id": "x"}]}]},
            "input[0].content[0].type",
            "invalid_value",
        ),
        ({"instructions": ["hi"]}, "instructions", "invalid_type"),
        ({"max_output_tokens": 0}, "max_output_tokens", "integer_below_min_value"),
        ({"temperature": 3}, "temperature", "decimal_above_max_value"),
        ({"top_p": -1}, "top_p", "decimal_below_min_value"),
        ({"top_logprobs": 21}, "top_logprobs", "integer_above_max_value"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type", "invalid_value"),
        (
            {"text": {"format": {"type": "json_schema"}}},
            "text.format.name",
            "missing_required_parameter",
        ),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "invalid_value"),
        (
            {"tools": [{"type": "file_search", "vector_store_ids": ["a"]}]},
            "tools[0].type",
            "invalid_value",
        ),
        ({"tools": [{"type": "function"}]}, "tools[0].name", "missing_required_parameter"),
        ({"tools": [TOOL]}, "tools[0].function", "unknown_parameter"),
        ({"tools": [{**FLAT_TOOL, "strict": "very"}]}, "tools[0].strict", "invalid_type"),
        ({"tool_choice": "required"}, "tool_choice", None),
        ({"parallel_tool_calls": True}, "parallel_tool_calls", None),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice.type", "invalid_value"),
        ({"include": ["file_search_call.results"]}, "include[0]", "invalid_value"),
        ({"metadata": {"a": 1}}, "metadata[...]", "invalid_type"),
        ({"previous_response_id": "resp_1"}, "previous_response_id", "unsupported_parameter"),
        ({"conversation": "conv_1"}, "conversation", "unsupported_parameter"),
        ({"background": True}, "background", "unsupported_parameter"),
        ({"truncation": "auto"}, "truncation", "unsupported_parameter"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt", "unsupported_parameter"),
        ({"messages": [USER]}, "messages", "unknown_parameter"),
    ],
)
def test_a_response_that_is_wrong(
    client: httpx.Client, more: dict[str, Any], param: str, code: str | None
) -> None:
    body = {"model": "llm", "input": "hi", **more}
    for stream in (False, True):
        refused(client.post(RESPONSES, json={"stream": stream, **body}), param, code)


@pytest.mark.parametrize(
    ("field", "param"),
    [
        ("messages", "input"),
        ("messages[0].content[0]", "instructions"),
        ("messages[1]", "input[0]"),
        ("messages[1].content[0]", "input[0].content[0]"),
        ("messages[2].tool_calls[0].arguments", "input[2].arguments"),
        ("messages[2].tool_calls[1].id", "input[3].call_id"),
        ("messages[3].tool_call_id", "input[4].call_id"),
        ("tools[0].parameters", "tools[0].parameters"),
        ("tool_choice.tool", "tool_choice"),
        ("structured_output.json_schema", "text.format"),
        ("structured_output", "text.format"),
        ("sampling.max_tokens", "max_output_tokens"),
        ("sampling.top_p", "top_p"),
    ],
)
def test_what_the_llm_refuses_of_a_response_is_named_as_the_caller_knows_it(
    client: httpx.Client, field: str, param: str
) -> None:
    call = {"type": "function_call", "name": "f", "arguments": "{}"}
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "reasoning", "summary": []},
        {**call, "call_id": "1"},
        {**call, "call_id": "2"},
        {"type": "function_call_output", "call_id": "1", "output": "x"},
        {"role": "user", "content": f"refuse {field} is wrong, mend it"},
    ]
    body = {"model": "llm", "instructions": "be kind", "input": items}
    answer = client.post(RESPONSES, json=body)
    refused(answer, param, None)
    assert answer.json()["error"]["message"] == f"{param} is wrong, mend it"


def test_a_text_has_nothing_within(client: httpx.Client) -> None:
    script = "refuse messages[0].content[0] is wrong, mend it"
    refused(client.post(RESPONSES, json={"model": "llm", "input": script}), "input", None)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b'{"input": NaN}', b'{"input":[{"a":' + b"[" * 10_000]
)
def test_a_response_that_is_no_json(client: httpx.Client, body: bytes) -> None:
    refused(client.post(RESPONSES, content=body, headers=JSON), None, None)


@pytest.mark.parametrize("name", ["parameters", "description"])
def test_a_tool_that_is_not_utf8_is_not_shown_again(client: httpx.Client, name: str) -> None:
    tool = {**FLAT_TOOL, name: {"a": "?"} if name == "parameters" else "?"}
    body = json.dumps({"model": "llm", "input": "hi", "tools": [tool]}).encode()
    refused(client.post(RESPONSES, content=body.replace(b"?", b"\xff"), headers=JSON), None, None)


def test_a_response_of_a_model_that_there_is_not(client: httpx.Client) -> None:
    answer = client.post(RESPONSES, json={"model": "gpt-9", "input": "hi"})
    assert error_of(answer, 404)["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("GET", "/resp_1"), ("DELETE", "/resp_1")]
)
def test_nothing_of_a_response_is_kept(client: httpx.Client, method: str, path: str) -> None:
    answer = client.request(method, f"{RESPONSES}{path}")
    assert error_of(answer, 404 if path else 405)["type"] == "invalid_request_error"


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
