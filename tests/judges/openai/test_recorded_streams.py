"""Streams of ours, recorded byte by byte, fed back through the official accumulator.

Whatever the official client makes of a stream must be what it makes of the whole answer.
"""

import json
from typing import Any

import httpx2
import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionMessage
from scripted_mesh import ScriptedMesh
from test_chat import MODEL, WEATHER

REQUESTS: dict[str, dict[str, Any]] = {
    "text": {"script": "say The sky is clear over Lisbon."},
    "nothing": {"script": "finish stop"},
    "unicode": {"script": "say naïve 日本語 🧑‍🚀 \u2028 end"},
    "choices": {"script": "words 20", "n": 3},
    "length": {"script": "words 20", "max_completion_tokens": 3},
    "logprobs": {"script": "say one two", "logprobs": True, "top_logprobs": 2},
    "call": {"script": 'call get_weather {"city": "Lisbon"}', "tools": [WEATHER]},
    "calls": {
        "script": 'call get_weather {"city": "Lisbon"}\ncall get_weather {"city": "Porto"}',
        "tools": [WEATHER],
    },
    "text and call": {
        "script": 'say Let me look.\ncall get_weather {"city": "Lisbon"}',
        "tools": [WEATHER],
    },
    "thought": {"script": "think It may rain.\nsay Take a coat."},
    "filtered": {"script": "say He\nfinish content_filter"},
}


def body(name: str, **more: Any) -> dict[str, Any]:
    """The request of that name."""
    options = dict(REQUESTS[name])
    messages = [{"role": "user", "content": options.pop("script")}]
    return {"model": MODEL, "messages": messages, **options, **more}


def replaying(recorded: bytes, pieces: int) -> OpenAI:
    """The official client before a server that says what was recorded, in so many pieces."""
    size = len(recorded) // pieces + 1
    parts = [recorded[start : start + size] for start in range(0, len(recorded), size)]

    def answer(request: httpx2.Request) -> httpx2.Response:
        headers = {"content-type": "text/event-stream; charset=utf-8"}
        return httpx2.Response(200, headers=headers, content=iter(parts))

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    return OpenAI(base_url="http://recorded", api_key="none", http_client=http)


def accumulated(client: OpenAI, request: dict[str, Any]) -> ChatCompletion:
    """What the helper makes of a stream; of an answer that was cut off it tells by an exception."""
    try:
        with client.chat.completions.stream(**request) as stream:
            list(stream)
            return stream.get_final_completion()
    except (openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError) as cut_off:
        found = cut_off.completion
    assert found is not None
    return found


@pytest.mark.parametrize("name", REQUESTS)
def test_the_accumulated_stream_is_the_whole_answer(mesh: ScriptedMesh, name: str) -> None:
    streamed = body(name, stream=True, stream_options={"include_usage": True})
    recorded = mesh.ask("POST", "/v1/chat/completions", json.dumps(streamed).encode())
    assert recorded.status == 200
    whole = mesh.ask("POST", "/v1/chat/completions", json.dumps(body(name)).encode())
    assert whole.status == 200
    # One piece, as many as there may be packets, and one a byte, which cuts characters apart.
    for pieces in (1, 7, len(recorded.body)):
        with replaying(recorded.body, pieces) as client:
            final = accumulated(client, body(name))
        for choice, expected in zip(final.choices, whole.json["choices"], strict=True):
            assert choice.index == expected["index"]
            assert choice.finish_reason == expected["finish_reason"]
            assert plain(choice.message) == plain(
                ChatCompletionMessage.model_validate(expected["message"])
            )
            logprobs = choice.logprobs.model_dump() if choice.logprobs else None
            assert logprobs == expected["logprobs"]
        assert final.usage is not None
        assert final.usage.model_dump(exclude_unset=True) == whole.json["usage"]


def plain(message: ChatCompletionMessage) -> dict[str, Any]:
    """What a message says; the ids of calls are new each time."""
    calls = [
        (each.type, each.function.name, each.function.arguments)
        for each in message.tool_calls or []
        if each.type == "function"
    ]
    thought = (message.model_extra or {}).get("reasoning_content")
    return {
        "role": message.role,
        "content": message.content or None,
        "calls": calls,
        "thought": thought or None,
    }
