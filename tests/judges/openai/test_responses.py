"""The Responses API of the official client: `create`, `parse`, `stream`, and its tool runner."""

from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.lib.responses_tool_runner import (
    AsyncRegisteredFunction,
    AsyncResponsesToolRunner,
    RegisteredFunction,
    ResponsesToolRunner,
)
from openai.types.responses import FunctionToolParam, Response
from pydantic import BaseModel
from test_chat import MODEL

LISBON = 'say {"name": "Lisbon", "people": 545796}'
CALL = 'call weather {"city": "Lisbon"}'
WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "weather",
    "description": "Says the weather.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


class City(BaseModel):
    """A city."""

    name: str
    people: int


class GetWeather(BaseModel):
    """The weather in a city."""

    city: str


def strictly(response: Response) -> Response:
    """The response, each field of which is of the type that the client has for it."""
    return Response.model_validate(
        response.model_dump(by_alias=True, warnings="error"), strict=True
    )


def test_a_response(client: OpenAI) -> None:
    response = client.responses.create(
        model=MODEL,
        instructions="Be brief.",
        input="say Hi there.",
        metadata={"a": "b"},
        store=True,
        temperature=0.5,
        max_output_tokens=9,
    )
    strictly(response)
    assert response.output_text == "Hi there."
    assert (response.status, response.error, response.incomplete_details) == (
        "completed",
        None,
        None,
    )
    assert (response.instructions, response.temperature) == ("Be brief.", 0.5)
    assert (response.max_output_tokens, response.metadata) == (9, {"a": "b"})
    assert response.model_extra is not None
    assert response.model_extra["store"] is False
    assert response.usage is not None
    usage = response.usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (5, 2, 7)
    assert usage.input_tokens_details.cached_tokens == 0
    assert usage.output_tokens_details.reasoning_tokens == 0


async def test_the_asynchronous_client(asynchronous: AsyncOpenAI) -> None:
    response = await asynchronous.responses.create(
        model=MODEL, input=[{"role": "user", "content": "say Hi."}]
    )
    assert response.output_text == "Hi."


def test_what_was_said_goes_on(client: OpenAI) -> None:
    first = client.responses.create(model=MODEL, input="think hm\nsay so\n" + CALL, tools=[WEATHER])
    strictly(first)
    assert [item.type for item in first.output] == ["reasoning", "message", "function_call"]
    answer = {"type": "function_call_output", "call_id": "call_0", "output": "sun"}
    history: Any = [{"role": "user", "content": "hi"}, *first.output, answer]
    second = client.responses.create(model=MODEL, input=history)
    assert second.output_text == "the tool said sun"


def test_a_stream_of_events(client: OpenAI) -> None:
    events = list(client.responses.create(model=MODEL, input="say Hi there.", stream=True))
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    for event in events:
        kind = type(event)
        kind.model_validate(event.model_dump(by_alias=True), strict=True)
    said = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert said == ["Hi ", "there."]
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == "Hi there."


def test_a_stream_is_accumulated_and_parsed(client: OpenAI) -> None:
    with client.responses.stream(model=MODEL, input=LISBON, text_format=City) as stream:
        events = list(stream)
        final = stream.get_final_response()
    (done,) = (event for event in events if event.type == "response.output_text.done")
    assert done.parsed == City(name="Lisbon", people=545796)
    assert final.output_parsed == City(name="Lisbon", people=545796)
    assert final.usage is not None
    assert final.usage.output_tokens == 4


async def test_calls_in_a_stream_are_accumulated_and_parsed(asynchronous: AsyncOpenAI) -> None:
    script = 'think hm\ncall GetWeather {"city": "Lisbon"}\ncall GetWeather {"city": "Porto"}'
    async with asynchronous.responses.stream(
        model=MODEL, input=script, tools=[openai.pydantic_function_tool(GetWeather)]
    ) as stream:
        final = await stream.get_final_response()
    calls = [item for item in final.output if item.type == "function_call"]
    assert [(call.call_id, call.parsed_arguments) for call in calls] == [
        ("call_0", GetWeather(city="Lisbon")),
        ("call_1", GetWeather(city="Porto")),
    ]


def test_a_response_is_parsed_into_a_model(client: OpenAI) -> None:
    response = client.responses.parse(model=MODEL, input=LISBON, text_format=City)
    assert response.output_parsed == City(name="Lisbon", people=545796)


def test_the_schema_reaches_the_model(client: OpenAI) -> None:
    response = client.responses.create(
        model=MODEL,
        input="request",
        text={
            "format": {
                "type": "json_schema",
                "name": "City",
                "schema": City.model_json_schema(),
                "strict": True,
            }
        },
    )
    assert "json_schema" in response.output_text
    assert "people" in response.output_text


def test_a_response_that_was_cut_off_is_told_as_such(client: OpenAI) -> None:
    response = client.responses.create(model=MODEL, input="words 9", max_output_tokens=2)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    *_, last = client.responses.create(
        model=MODEL, input="words 9", max_output_tokens=2, stream=True
    )
    assert last.type == "response.incomplete"


@pytest.mark.parametrize("stream", [False, True])
def test_the_tool_runner(client: OpenAI, stream: bool) -> None:
    asked: list[object] = []

    def weather(arguments: dict[str, object]) -> str:
        asked.append(arguments)
        return f"sun in {arguments['city']}"

    runner = ResponsesToolRunner(functions=[RegisteredFunction(WEATHER, weather)])
    final = runner.run(
        client, {"model": MODEL, "input": f"think hm\nsay so\n{CALL}"}, stream=stream
    )
    assert asked == [{"city": "Lisbon"}]
    assert final.output_text == "the tool said sun in Lisbon"


@pytest.mark.parametrize("eager", [False, True])
async def test_the_asynchronous_tool_runner(asynchronous: AsyncOpenAI, eager: bool) -> None:
    asked: list[object] = []

    async def weather(arguments: dict[str, object]) -> str:
        asked.append(arguments["city"])
        return f"sun in {arguments['city']}"

    runner = AsyncResponsesToolRunner(functions=[AsyncRegisteredFunction(WEATHER, weather)])
    script = f'{CALL}\ncall weather {{"city": "Porto"}}'
    final = await runner.run(
        asynchronous, {"model": MODEL, "input": script}, stream=eager, eager=eager
    )
    assert sorted(map(str, asked)) == ["Lisbon", "Porto"]
    assert final.output_text == "the tool said sun in Porto"


def test_a_stream_that_breaks_off_is_an_error(client: OpenAI) -> None:
    with pytest.raises(openai.APIError) as caught:
        list(client.responses.create(model=MODEL, input="say Hi.\nfault", stream=True))
    assert (caught.value.type, caught.value.code) == ("server_error", "internal")
    assert "secret" not in caught.value.message


def test_an_unknown_model_is_404(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.create(model="weather", input="say Hi.")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("wrong", "param", "code"),
    [
        ({"temperature": 3}, "temperature", "decimal_above_max_value"),
        ({"input": []}, "input", "empty_array"),
        ({"previous_response_id": "resp_1"}, "previous_response_id", "unsupported_parameter"),
        ({"background": True}, "background", "unsupported_parameter"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "invalid_value"),
        ({"no_such_parameter": 1}, "no_such_parameter", "unknown_parameter"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_wrong_with_a_request_is_400_and_named(
    client: OpenAI, wrong: dict[str, Any], param: str, code: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=MODEL, input="say Hi.", extra_body=wrong)
    assert (caught.value.param, caught.value.code) == (param, code)


def test_nothing_is_stored(client: OpenAI) -> None:
    response = client.responses.create(model=MODEL, input="say Hi.", store=True)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)
