"""What reaches the llm of a request to `POST /v1/responses`, and what is wrong with one."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from llm_mesh import RoutedMesh, asking, error_of, refused

PATH = "/v1/responses"
JSON = {"content-type": "application/json"}
TOOL = {
    "type": "function",
    "name": "weather",
    "description": "Says the weather.",
    "parameters": {"type": "object"},
}
USER = {"role": "user", "content": "hi"}


@pytest.fixture
def client(llm_mesh: RoutedMesh) -> Iterator[httpx.Client]:
    with llm_mesh.client() as opened:
        yield opened


def asked(client: httpx.Client, **more: Any) -> Any:
    """The request that the llm gets."""
    answer = client.post(PATH, json=asking("request", **more))
    assert answer.status_code == 200, answer.text
    (message,) = answer.json()["output"]
    return json.loads(message["content"][0]["text"])


def test_every_setting_reaches_the_llm(client: httpx.Client) -> None:
    found = asked(
        client,
        temperature=0.5,
        top_p=0.9,
        max_output_tokens=7,
        include=["message.output_text.logprobs"],
    )
    assert found["sampling"] == {
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 7,
        "logprobs": 0,
    }
    ignored = {"include": ["reasoning.encrypted_content"], "reasoning": {"effort": "low"}}
    assert asked(client, **ignored, truncation="disabled", background=False).get("sampling") == {}


def test_every_kind_of_item_reaches_the_llm(client: httpx.Client) -> None:
    text = {"type": "output_text", "text": "I look", "annotations": [], "logprobs": []}
    call = {"type": "function_call", "name": "weather", "arguments": "{}"}
    items = [
        {"role": "developer", "content": "be brief"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": None},
        {"role": "assistant", "id": "msg_1", "status": "completed", "content": [text]},
        {**call, "call_id": "1", "id": "fc_1", "status": "completed"},
        {**call, "call_id": "2"},
        {"type": "function_call_output", "call_id": "1", "output": "sun"},
        {
            "type": "function_call_output",
            "call_id": "2",
            "output": [{"type": "input_text", "text": "rain"}],
        },
        {**call, "call_id": "3"},
        {"type": "function_call_output", "call_id": "3", "output": "snow"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {"role": "user", "content": "request"},
    ]
    calls = [{"id": str(each), "name": "weather", "arguments": "{}"} for each in (1, 2, 3)]
    found = asked(client, input=items, instructions="be kind")
    assert found["messages"] == [
        {"role": "ROLE_SYSTEM", "content": [{"text": "be kind"}]},
        {"role": "ROLE_SYSTEM", "content": [{"text": "be brief"}]},
        {"role": "ROLE_USER", "content": [{"text": "hi"}]},
        {"role": "ROLE_ASSISTANT", "content": [{"text": "I look"}], "tool_calls": calls[:2]},
        {"role": "ROLE_TOOL", "content": [{"text": "sun"}], "tool_call_id": "1"},
        {"role": "ROLE_TOOL", "content": [{"text": "rain"}], "tool_call_id": "2"},
        {"role": "ROLE_ASSISTANT", "tool_calls": calls[2:]},
        {"role": "ROLE_TOOL", "content": [{"text": "snow"}], "tool_call_id": "3"},
        {"role": "ROLE_ASSISTANT", "content": [{"text": "no"}]},
        {"role": "ROLE_USER", "content": [{"text": "request"}]},
    ]


def test_tools_reach_the_llm(client: httpx.Client) -> None:
    named = {"type": "function", "name": "weather"}
    found = asked(client, tools=[TOOL], tool_choice=named, parallel_tool_calls=False)
    assert found["tools"] == [
        {"name": "weather", "description": "Says the weather.", "parameters": '{"type":"object"}'}
    ]
    assert found["tool_choice"] == {"tool": "weather"}
    assert found["parallel_tool_calls"] is False
    for mode in ("auto", "none", "required"):
        found = asked(client, tools=[TOOL], tool_choice=mode)
        assert found["tool_choice"] == {"mode": f"TOOL_CHOICE_MODE_{mode.upper()}"}


@pytest.mark.parametrize(
    ("wanted", "form"),
    [
        ({"type": "json_object"}, {"json_object": {}}),
        ({"type": "json_schema", "name": "a", "schema": {}}, {"json_schema": "{}"}),
        ({"type": "text"}, None),
    ],
)
def test_forms_reach_the_llm(client: httpx.Client, wanted: dict[str, Any], form: Any) -> None:
    found = asked(client, text={"format": wanted, "verbosity": "low"})
    assert found.get("structured_output") == form


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
        ({"tools": [{**TOOL, "function": {}}]}, "tools[0].function", "unknown_parameter"),
        ({"tools": [{**TOOL, "strict": "very"}]}, "tools[0].strict", "invalid_type"),
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
        refused(client.post(PATH, json={"stream": stream, **body}), param, code)


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
    answer = client.post(PATH, json=body)
    refused(answer, param, None)
    assert answer.json()["error"]["message"] == f"{param} is wrong, mend it"


def test_a_text_has_nothing_within(client: httpx.Client) -> None:
    script = "refuse messages[0].content[0] is wrong, mend it"
    refused(client.post(PATH, json={"model": "llm", "input": script}), "input", None)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b'{"input": NaN}', b'{"input":[{"a":' + b"[" * 10_000]
)
def test_a_response_that_is_no_json(client: httpx.Client, body: bytes) -> None:
    refused(client.post(PATH, content=body, headers=JSON), None, None)


@pytest.mark.parametrize("name", ["parameters", "description"])
def test_a_tool_that_is_not_utf8_is_not_shown_again(client: httpx.Client, name: str) -> None:
    tool = {**TOOL, name: {"a": "?"} if name == "parameters" else "?"}
    body = json.dumps({"model": "llm", "input": "hi", "tools": [tool]}).encode()
    refused(client.post(PATH, content=body.replace(b"?", b"\xff"), headers=JSON), None, None)


def test_a_response_of_a_model_that_there_is_not(client: httpx.Client) -> None:
    answer = client.post(PATH, json={"model": "gpt-9", "input": "hi"})
    assert error_of(answer, 404)["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("GET", "/resp_1"), ("DELETE", "/resp_1")]
)
def test_nothing_of_a_response_is_kept(client: httpx.Client, method: str, path: str) -> None:
    answer = client.request(method, f"{PATH}{path}")
    assert error_of(answer, 404 if path else 405)["type"] == "invalid_request_error"
