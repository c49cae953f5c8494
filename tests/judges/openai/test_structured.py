"""The helpers of the official client: `stream`, `parse`, and tools made of pydantic models."""

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel
from test_chat import MODEL, user


class City(BaseModel):
    """A city."""

    name: str
    people: int


LISBON = 'say {"name": "Lisbon", "people": 545796}'


class GetWeather(BaseModel):
    """The weather in a city."""

    city: str


def test_an_answer_is_parsed_into_a_model(client: OpenAI) -> None:
    answer = client.chat.completions.parse(model=MODEL, messages=user(LISBON), response_format=City)
    assert answer.choices[0].message.parsed == City(name="Lisbon", people=545796)


async def test_the_asynchronous_client_parses_too(asynchronous: AsyncOpenAI) -> None:
    answer = await asynchronous.chat.completions.parse(
        model=MODEL, messages=user(LISBON), response_format=City
    )
    assert answer.choices[0].message.parsed == City(name="Lisbon", people=545796)


def test_the_schema_reaches_the_model(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL,
        messages=user("request"),
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "City", "schema": City.model_json_schema(), "strict": True},
        },
    )
    said = str(answer.choices[0].message.content)
    assert "json_schema" in said
    assert "people" in said


def test_an_answer_that_was_cut_off_is_told_as_such(client: OpenAI) -> None:
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(
            model=MODEL, messages=user(LISBON), response_format=City, max_completion_tokens=1
        )


def test_the_arguments_of_a_call_are_parsed(client: OpenAI) -> None:
    answer = client.chat.completions.parse(
        model=MODEL,
        messages=user('call GetWeather {"city": "Lisbon"}'),
        tools=[openai.pydantic_function_tool(GetWeather)],
    )
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].function.parsed_arguments == GetWeather(city="Lisbon")


def test_a_stream_is_accumulated_and_parsed(client: OpenAI) -> None:
    with client.chat.completions.stream(
        model=MODEL,
        messages=user(LISBON),
        response_format=City,
        logprobs=True,
        stream_options={"include_usage": True},
    ) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    assert list(dict.fromkeys(event.type for event in events)) == [
        "chunk",
        "content.delta",
        "logprobs.content.delta",
        "content.done",
        "logprobs.content.done",
    ]
    deltas = "".join(event.delta for event in events if event.type == "content.delta")
    assert f"say {deltas}" == LISBON
    (done,) = (event for event in events if event.type == "content.done")
    assert done.parsed == City(name="Lisbon", people=545796)
    assert final.choices[0].message.parsed == City(name="Lisbon", people=545796)
    assert final.choices[0].finish_reason == "stop"
    assert final.usage is not None
    assert final.usage.completion_tokens == 4


def test_calls_in_a_stream_are_accumulated_and_parsed(client: OpenAI) -> None:
    script = 'call GetWeather {"city": "Lisbon"}\ncall GetWeather {"city": "Vila Nova de Gaia"}'
    with client.chat.completions.stream(
        model=MODEL, messages=user(script), tools=[openai.pydantic_function_tool(GetWeather)]
    ) as stream:
        done = [each for each in stream if each.type == "tool_calls.function.arguments.done"]
        final = stream.get_final_completion()
    found = [(each.index, each.name, each.parsed_arguments) for each in done]
    assert found == [
        (0, "GetWeather", GetWeather(city="Lisbon")),
        (1, "GetWeather", GetWeather(city="Vila Nova de Gaia")),
    ]
    calls = final.choices[0].message.tool_calls
    assert calls is not None
    assert [call.function.parsed_arguments for call in calls] == [each[2] for each in found]
    assert len({call.id for call in calls}) == 2
    assert final.choices[0].finish_reason == "tool_calls"


async def test_the_asynchronous_stream_is_accumulated_too(asynchronous: AsyncOpenAI) -> None:
    async with asynchronous.chat.completions.stream(
        model=MODEL, messages=user(LISBON), response_format=City, n=2
    ) as stream:
        final = await stream.get_final_completion()
    assert [choice.message.parsed for choice in final.choices] == [
        City(name="Lisbon", people=545796)
    ] * 2
