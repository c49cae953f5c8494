"""LiteLLM as a client, by its provider for OpenAI-compatible servers."""

from typing import Any

import litellm
import pytest
from litellm.exceptions import (
    AuthenticationError,
    BadRequestError,
    MidStreamFallbackError,
    NotFoundError,
    ServiceUnavailableError,
)
from pydantic import BaseModel
from scripted_mesh import ScriptedMesh, trained_embedder

pytestmark = pytest.mark.full
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


class City(BaseModel):
    """A city."""

    name: str
    people: int


@pytest.fixture
def at(mesh: ScriptedMesh) -> dict[str, Any]:
    """What says to every call where the mesh is."""
    return {"api_base": f"{mesh.url}/v1", "api_key": mesh.key, "num_retries": 0}


def asked(script: str) -> list[dict[str, Any]]:
    """A conversation of one message."""
    return [{"role": "user", "content": script}]


def test_a_message_is_answered(at: dict[str, Any]) -> None:
    answer: Any = litellm.completion("openai/llm", asked("say Hello you."), **at)
    assert answer.choices[0].message.content == "Hello you."
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 2)


def test_a_stream_is_rebuilt_to_the_answer(at: dict[str, Any]) -> None:
    stream: Any = litellm.completion(
        "openai/llm",
        asked("say one two three"),
        stream=True,
        stream_options={"include_usage": True},
        **at,
    )
    chunks = list(stream)
    deltas = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(deltas) == "one two three"
    whole: Any = litellm.stream_chunk_builder(chunks)
    assert whole.choices[0].message.content == "one two three"
    assert whole.usage.completion_tokens == 3


async def test_it_asks_asynchronously_too(at: dict[str, Any]) -> None:
    answer: Any = await litellm.acompletion("openai/llm", asked("say Hello."), **at)
    assert answer.choices[0].message.content == "Hello."
    stream: Any = await litellm.acompletion(
        "openai/llm", asked("say Hello you."), stream=True, **at
    )
    assert "".join([each.choices[0].delta.content or "" async for each in stream]) == "Hello you."


def test_a_tool_is_called_and_told(at: dict[str, Any]) -> None:
    question = asked('call get_weather {"city": "Lisbon"}')
    called: Any = litellm.completion("openai/llm", question, tools=[TOOL], **at)
    message = called.choices[0].message
    (call,) = message.tool_calls
    assert (call.function.name, call.function.arguments) == ("get_weather", '{"city": "Lisbon"}')
    # What it made of the answer goes back as it stands, with all that it added.
    told = [
        *question,
        message.model_dump(),
        {"role": "tool", "tool_call_id": call.id, "content": "19 degrees"},
    ]
    answer: Any = litellm.completion("openai/llm", told, tools=[TOOL], **at)
    assert answer.choices[0].message.content == "the tool said 19 degrees"


def test_calls_in_a_stream_are_rebuilt(at: dict[str, Any]) -> None:
    script = 'call get_weather {"city": "Lisbon"}\ncall get_weather {"city": "Porto"}'
    stream: Any = litellm.completion("openai/llm", asked(script), tools=[TOOL], stream=True, **at)
    whole: Any = litellm.stream_chunk_builder(list(stream))
    calls = whole.choices[0].message.tool_calls
    assert [each.function.arguments for each in calls] == [
        '{"city": "Lisbon"}',
        '{"city": "Porto"}',
    ]
    assert whole.choices[0].finish_reason == "tool_calls"


def test_an_answer_has_the_form_of_a_model(at: dict[str, Any]) -> None:
    script = 'say {"name": "Lisbon", "people": 545796}'
    answer: Any = litellm.completion("openai/llm", asked(script), response_format=City, **at)
    found = City.model_validate_json(answer.choices[0].message.content)
    assert found == City(name="Lisbon", people=545796)


def test_a_text_is_continued(at: dict[str, Any]) -> None:
    answer: Any = litellm.text_completion(
        model="text-completion-openai/llm", prompt="say one two", **at
    )
    assert answer.choices[0].text == "one two"


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"model": "openai/weather"}, NotFoundError),
        ({"api_key": "sk-nonsense"}, AuthenticationError),
        ({"messages": asked("refuse max_tokens is beyond the context")}, BadRequestError),
        ({"messages": asked("fail Unavailable")}, ServiceUnavailableError),
    ],
    ids=["model", "key", "request", "away"],
)
def test_what_is_wrong_keeps_its_class(
    at: dict[str, Any], more: dict[str, Any], error: type[Exception]
) -> None:
    options = {"model": "openai/llm", "messages": asked("say Hi."), "max_retries": 0, **at, **more}
    with pytest.raises(error):
        litellm.completion(**options)


def test_an_error_amid_a_stream_is_raised(at: dict[str, Any]) -> None:
    stream: Any = litellm.completion(
        "openai/llm", asked("say one two\nfail Unavailable"), stream=True, **at
    )
    said: list[str] = []
    with pytest.raises(MidStreamFallbackError, match="something is wrong"):
        said.extend(each.choices[0].delta.content or "" for each in stream)
    assert "".join(said).rstrip() == "one two"


@pytest.mark.skipif(trained_embedder() is None, reason="there is no embedder in the model store")
def test_texts_are_embedded(at: dict[str, Any]) -> None:
    answer: Any = litellm.embedding("openai/embedder", ["The ferry.", "Basil."], **at)
    assert [each["index"] for each in answer.data] == [0, 1]
    assert len(answer.data[0]["embedding"]) > 100
    assert answer.usage.prompt_tokens > 0
