"""`POST /v1/chat/completions`, as a client of OpenAI's API sees it."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from llm_mesh import TOKEN_OF_E, RoutedMesh, chat, chunks, error_of
from processes import until

PATH = "/v1/chat/completions"
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Says the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
PARAMETERS = '{"type":"object","properties":{"city":{"type":"string"}}}'


@pytest.fixture
def client(llm_mesh: RoutedMesh) -> Iterator[httpx.Client]:
    with llm_mesh.client() as opened:
        yield opened


def asked(client: httpx.Client, **more: Any) -> Any:
    """The request that the llm gets."""
    answer = client.post(PATH, json=chat("request", **more))
    assert answer.status_code == 200, answer.text
    return json.loads(answer.json()["choices"][0]["message"]["content"])


def test_an_answer(client: httpx.Client) -> None:
    answer = client.post(PATH, json=chat("hello you"), headers={"x-request-id": "mine-1"})
    assert answer.status_code == 200
    body = answer.json()
    assert body.pop("id").startswith("chatcmpl-")
    assert body.pop("created") > 1_700_000_000
    assert body == {
        "object": "chat.completion",
        "model": "llm",
        "system_fingerprint": "stand-in-1",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "hello you",
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 2,
            "completion_tokens": 2,
            "total_tokens": 4,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        },
    }
    assert answer.headers["x-request-id"] == "mine-1"


def test_the_headers_say_what_answered_and_what_is_left(client: httpx.Client) -> None:
    headers = client.post(PATH, json=chat("hello")).headers
    lineage = {name: value for name, value in headers.items() if name.startswith("x-mesh-")}
    assert lineage == {
        "x-mesh-model": "llm",
        "x-mesh-version": "stand-in-1",
        "x-mesh-variant": "default",
        "x-mesh-run": "none",
        "x-mesh-deployment": "test",
    }
    assert headers["x-ratelimit-limit-requests"] == "1000"
    assert 0 <= int(headers["x-ratelimit-remaining-requests"]) < 1000
    assert headers["x-ratelimit-reset-requests"].endswith("ms")


def test_a_stream(client: httpx.Client) -> None:
    answer = client.post(PATH, json=chat("say a b", stream=True))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["x-mesh-model"] == "llm"
    found = chunks(answer.text)
    assert len({(each["id"], each["created"]) for each in found}) == 1
    for each in found:
        assert each["object"] == "chat.completion.chunk"
        assert each["model"] == "llm"
        assert "usage" not in each
    choices = [choice for each in found for choice in each["choices"]]
    assert [(each["delta"], each["finish_reason"]) for each in choices] == [
        ({"role": "assistant", "content": "", "refusal": None}, None),
        ({"content": "a "}, None),
        ({"content": "b"}, None),
        ({}, "stop"),
    ]


def test_the_usage_is_the_last_chunk_where_it_is_asked_for(client: httpx.Client) -> None:
    options = {"include_usage": True, "include_obfuscation": False}
    *rest, last = chunks(
        client.post(PATH, json=chat("say a b", stream=True, stream_options=options)).text
    )
    assert [each["usage"] for each in rest] == [None] * 4
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 5


def test_tool_calls(client: httpx.Client) -> None:
    script = 'call weather {"city": "Paris"}; call weather {"city": "Rome"}'
    (choice,) = client.post(PATH, json=chat(script, tools=[WEATHER])).json()["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == [
        {
            "id": f"call_{index}",
            "type": "function",
            "function": {"name": "weather", "arguments": f'{{"city": "{city}"}}'},
        }
        for index, city in enumerate(("Paris", "Rome"))
    ]


def test_tool_calls_of_a_stream_have_their_index(client: httpx.Client) -> None:
    script = 'call weather {"city": "Paris"}; call weather {}'
    found = chunks(client.post(PATH, json=chat(script, tools=[WEATHER], stream=True)).text)
    deltas = [each["choices"][0]["delta"] for each in found]
    calls = [each["tool_calls"][0] for each in deltas if "tool_calls" in each]
    first = [call for call in calls if "id" in call]
    assert first == [
        {
            "index": index,
            "id": f"call_{index}",
            "type": "function",
            "function": {"name": "weather", "arguments": ""},
        }
        for index in range(2)
    ]
    arguments = ["", ""]
    for call in calls:
        arguments[call["index"]] += call["function"]["arguments"]
    assert arguments == ['{"city": "Paris"}', "{}"]
    assert found[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_several_choices(client: httpx.Client) -> None:
    body = client.post(PATH, json=chat("say a b", n=3)).json()
    assert [each["index"] for each in body["choices"]] == [0, 1, 2]
    assert {each["message"]["content"] for each in body["choices"]} == {"a b"}
    assert body["usage"]["completion_tokens"] == 6
    found = chunks(client.post(PATH, json=chat("say a", n=2, stream=True)).text)
    roles = [c["index"] for each in found for c in each["choices"] if "role" in c["delta"]]
    assert sorted(roles) == [0, 1]


def test_logprobs(client: httpx.Client) -> None:
    wanted = {"logprobs": True, "top_logprobs": 2}
    body = client.post(PATH, json=chat("say é", **wanted)).json()
    assert body["choices"][0]["logprobs"] == {"content": [TOKEN_OF_E], "refusal": None}
    found = chunks(client.post(PATH, json=chat("say é", stream=True, **wanted)).text)
    told = [each["choices"][0]["logprobs"] for each in found]
    assert told == [None, {"content": [TOKEN_OF_E], "refusal": None}, None]


def test_reasoning_stands_beside_the_content(client: httpx.Client) -> None:
    body = client.post(PATH, json=chat("think hm well; say yes")).json()
    message = body["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("hm well", "yes")
    found = chunks(client.post(PATH, json=chat("think hm; say yes", stream=True)).text)
    deltas = [each["choices"][0]["delta"] for each in found]
    assert {"reasoning_content": "hm"} in deltas


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter"])
def test_finish_reasons(client: httpx.Client, reason: str) -> None:
    body = client.post(PATH, json=chat(f"say a; finish {reason}")).json()
    assert body["choices"][0]["finish_reason"] == reason


def test_most_tokens_end_an_answer(client: httpx.Client) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        body = client.post(PATH, json=chat("words 10", **{name: 3})).json()
        assert body["choices"][0]["finish_reason"] == "length"
        assert body["usage"]["completion_tokens"] == 3


def test_every_setting_reaches_the_llm(client: httpx.Client) -> None:
    found = asked(
        client,
        temperature=0.5,
        top_p=0.9,
        n=1,
        stop=["x", "y"],
        presence_penalty=1,
        frequency_penalty=-1,
        logit_bias={"17": 5},
        seed=3,
        max_completion_tokens=7,
        top_k=4,
        min_p=0.25,
        repetition_penalty=1.5,
        min_tokens=1,
        ignore_eos=True,
        logprobs=True,
        user="x\r\nevil: 1",
    )
    assert found["sampling"] == {
        "temperature": 0.5,
        "top_p": 0.9,
        "n": 1,
        "stop": ["x", "y"],
        "presence_penalty": 1.0,
        "frequency_penalty": -1.0,
        "logit_bias": {"17": 5.0},
        "seed": "3",
        "max_tokens": 7,
        "top_k": 4,
        "min_p": 0.25,
        "repetition_penalty": 1.5,
        "min_tokens": 1,
        "ignore_eos": True,
        "logprobs": 0,
    }


def test_every_kind_of_message_reaches_the_llm(client: httpx.Client) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "name": "ann", "content": [{"type": "text", "text": "request"}]},
        {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None},
        {"role": "tool", "tool_call_id": "1", "content": "sun"},
        {"role": "user", "content": "request"},
    ]
    found = asked(client, messages=messages)
    assert found["messages"] == [
        {"role": "ROLE_SYSTEM", "content": [{"text": "be brief"}]},
        {"role": "ROLE_USER", "name": "ann", "content": [{"text": "request"}]},
        {
            "role": "ROLE_ASSISTANT",
            "tool_calls": [{"id": "1", "name": "weather", "arguments": "{}"}],
        },
        {"role": "ROLE_TOOL", "content": [{"text": "sun"}], "tool_call_id": "1"},
        {"role": "ROLE_USER", "content": [{"text": "request"}]},
    ]


def test_tools_reach_the_llm(client: httpx.Client) -> None:
    named = {"type": "function", "function": {"name": "weather"}}
    found = asked(client, tools=[WEATHER], tool_choice=named, parallel_tool_calls=False)
    assert found["tools"] == [
        {
            "name": "weather",
            "description": "Says the weather.",
            "parameters": PARAMETERS,
        }
    ]
    assert found["tool_choice"] == {"tool": "weather"}
    assert found["parallel_tool_calls"] is False
    for mode in ("auto", "none", "required"):
        found = asked(client, tools=[WEATHER], tool_choice=mode)
        assert found["tool_choice"] == {"mode": f"TOOL_CHOICE_MODE_{mode.upper()}"}


@pytest.mark.parametrize(
    ("wanted", "form"),
    [
        ({"response_format": {"type": "json_object"}}, {"json_object": {}}),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "schema": {}},
                }
            },
            {"json_schema": "{}"},
        ),
        ({"structured_outputs": {"regex": "a+"}}, {"regex": "a+"}),
        ({"structured_outputs": {"choice": ["a", "b"]}}, {"choice": {"texts": ["a", "b"]}}),
        ({"structured_outputs": {"grammar": "root ::= a"}}, {"grammar": "root ::= a"}),
        (
            {"structured_outputs": {"json": {"type": "object"}}},
            {"json_schema": '{"type":"object"}'},
        ),
    ],
)
def test_forms_reach_the_llm(client: httpx.Client, wanted: dict[str, Any], form: Any) -> None:
    assert asked(client, **wanted)["structured_output"] == form


def test_the_llm_learns_who_asks(client: httpx.Client, llm_mesh: RoutedMesh) -> None:
    mine = {"x-mesh-tenant": "another", "x-mesh-key-id": "another", "x-request-id": "who-1"}
    body = client.post(PATH, json=chat("who"), headers=mine).json()
    said = body["choices"][0]["message"]["content"]
    assert said == f"{llm_mesh.key.id} shop who-1"


def test_an_error_amid_a_stream_is_its_last_frame(client: httpx.Client) -> None:
    answer = client.post(PATH, json=chat("say a; fault", stream=True))
    assert answer.status_code == 200
    *_, last, rest = answer.text.split("\n\n")
    assert rest == ""
    error = json.loads(last.removeprefix("data: "))["error"]
    assert (error["type"], error["param"], error["code"]) == ("server_error", None, "internal")
    assert "[DONE]" not in answer.text
    assert "secret" not in answer.text


def test_an_error_before_the_first_chunk_is_an_ordinary_one(client: httpx.Client) -> None:
    answer = client.post(PATH, json=chat("fail Unavailable", stream=True))
    assert error_of(answer, 503)["code"] == "unavailable"
    assert "x-should-retry" not in answer.headers
    assert answer.headers["retry-after"] == "1"


def test_nobody_repeats_an_answer_that_had_begun(client: httpx.Client) -> None:
    answer = client.post(PATH, json=chat("say a; fail Unavailable"))
    assert error_of(answer, 503)["type"] == "server_error"
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers


def test_the_deadline_of_the_caller_ends_a_generation(
    client: httpx.Client, llm_mesh: RoutedMesh
) -> None:
    hurried = {"x-request-timeout-ms": "1500"}
    answer = client.post(PATH, json=chat("say a; wait"), headers=hurried)
    assert error_of(answer, 504)["code"] == "deadline_exceeded"
    assert answer.headers["x-should-retry"] == "false"
    answer = client.post(PATH, json=chat("say a; wait", stream=True), headers=hurried)
    assert answer.status_code == 200
    assert "deadline" in json.loads(answer.text.split("data: ")[-1])["error"]["message"]
    until(llm_mesh.at_rest, "rest")


def test_a_generation_has_ten_minutes(client: httpx.Client) -> None:
    left_s = float(client.post(PATH, json=chat("time")).json()["choices"][0]["message"]["content"])
    assert 500 < left_s <= 600
