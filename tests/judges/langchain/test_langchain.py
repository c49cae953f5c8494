"""LangChain's client: messages, streams, tools, structured output, embeddings."""

from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, SecretStr
from scripted_mesh import ScriptedMesh, trained_embedder

pytestmark = pytest.mark.full
CALL = 'call get_weather {"city": "Lisbon"}'


class City(BaseModel):
    """A city."""

    name: str
    people: int


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"19 degrees in {city}"


@pytest.fixture
def model(mesh: ScriptedMesh) -> ChatOpenAI:
    """The chat model, as an application makes it."""
    return ChatOpenAI(model="llm", base_url=f"{mesh.url}/v1", api_key=SecretStr(mesh.key))


def test_a_message_is_answered_with_its_usage(model: ChatOpenAI) -> None:
    answer = model.invoke("say Hello you.")
    assert answer.content == "Hello you."
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["input_tokens"] == 3
    assert answer.usage_metadata["output_tokens"] == 2
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.response_metadata["model_name"] == "llm"


def test_a_stream_adds_up_to_the_answer(model: ChatOpenAI) -> None:
    chunks = list(model.stream("say one two three", stream_usage=True))
    assert [chunk.content for chunk in chunks if chunk.content] == ["one ", "two ", "three"]
    total: Any = sum(chunks[1:], chunks[0])
    assert total.content == "one two three"
    assert total.usage_metadata["output_tokens"] == 3


async def test_the_asynchronous_ways_say_the_same(model: ChatOpenAI) -> None:
    assert (await model.ainvoke("say Hello.")).content == "Hello."
    chunks = [chunk.content async for chunk in model.astream("say Hello you.")]
    assert "".join(str(each) for each in chunks) == "Hello you."


def test_a_tool_is_called_and_its_result_is_answered(model: ChatOpenAI) -> None:
    asking = model.bind_tools([get_weather])
    question = HumanMessage(CALL)
    called = asking.invoke([question])
    (call,) = called.tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Lisbon"})
    result = get_weather.invoke(call)
    assert isinstance(result, ToolMessage)
    answer = asking.invoke([question, called, result])
    assert answer.content == "the tool said 19 degrees in Lisbon"


def test_calls_in_a_stream_add_up(model: ChatOpenAI) -> None:
    chunks = list(
        model.bind_tools([get_weather]).stream(f"{CALL}\n{CALL.replace('Lisbon', 'Porto')}")
    )
    total: Any = sum(chunks[1:], chunks[0])
    assert isinstance(total, AIMessageChunk)
    assert [call["args"]["city"] for call in total.tool_calls] == ["Lisbon", "Porto"]
    assert len({call["id"] for call in total.tool_calls}) == 2


def test_a_tool_can_be_forced(model: ChatOpenAI) -> None:
    forced = model.bind_tools([get_weather], tool_choice="get_weather").invoke("say no")
    assert isinstance(forced, AIMessage)
    assert [call["name"] for call in forced.tool_calls] == ["get_weather"]


@pytest.mark.parametrize("method", ["json_schema", "json_mode", "function_calling"])
def test_structured_output_in_every_way(model: ChatOpenAI, method: Any) -> None:
    values = '{"name": "Lisbon", "people": 545796}'
    script = f"call City {values}" if method == "function_calling" else f"say {values}"
    answer = model.with_structured_output(City, method=method).invoke(script)
    assert answer == City(name="Lisbon", people=545796)


def test_log_probabilities_arrive(model: ChatOpenAI) -> None:
    answer = model.bind(logprobs=True).invoke("say Hi")
    assert [each["token"] for each in answer.response_metadata["logprobs"]["content"]] == ["Hi"]


def test_a_refusal_keeps_its_class(model: ChatOpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="weather"):
        model.bind(model="weather").invoke("say Hi.")


@pytest.mark.skipif(trained_embedder() is None, reason="there is no embedder in the model store")
def test_texts_are_embedded(mesh: ScriptedMesh) -> None:
    embeddings = OpenAIEmbeddings(
        model="embedder",
        base_url=f"{mesh.url}/v1",
        api_key=SecretStr(mesh.key),
        # Else it cuts texts with a tokeniser of OpenAI's, which it would download.
        check_embedding_ctx_length=False,
    )
    one, other = embeddings.embed_documents(["The ferry leaves at nine.", "Basil needs sun."])
    assert len(one) == len(other) > 100
    assert embeddings.embed_query("The ferry leaves at nine.") == pytest.approx(one, abs=1e-5)
