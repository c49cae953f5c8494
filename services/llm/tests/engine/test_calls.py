"""An adapter that keeps to its family's format calls tools of its own accord, as often as asked."""

import json
from typing import Any

import jsonschema
import pytest

from engine_service import CALL_S, Answer, gather
from mesh.llm.v1 import llm_pb2
from serving import request

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("tool_caller")]

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = [
    llm_pb2.Tool(
        name="get_weather", description="The weather of a city.", parameters=json.dumps(CITY)
    ),
    llm_pb2.Tool(
        name="get_time", description="The time of day in a city.", parameters=json.dumps(CITY)
    ),
]
TWO = "What is the weather in Berlin and Lisbon?"
REQUIRED = llm_pb2.ToolChoice(mode=llm_pb2.TOOL_CHOICE_MODE_REQUIRED)
NONE = llm_pb2.ToolChoice(mode=llm_pb2.TOOL_CHOICE_MODE_NONE)


async def ask(stub: Any, model: str, text: str, **fields: Any) -> Answer:
    sampling = llm_pb2.Sampling(temperature=0, max_tokens=100)
    asked = request(text, model=model, sampling=sampling, **fields)
    return await gather(stub.Chat(asked, timeout=CALL_S))


def called(answer: Answer) -> list[tuple[str, str]]:
    """The tools and cities of an answer's calls; each fits the schema."""
    calls = []
    for name, arguments in answer.only.calls.values():
        parsed = json.loads(arguments)
        jsonschema.validate(parsed, CITY)
        calls.append((name, parsed["city"]))
    return calls


def test_it_is_seen_to_keep_to_the_format(model: llm_pb2.GetModelResponse) -> None:
    formats = {each.name: each.tool_format for each in model.models}
    assert (formats["llm"], formats["tool-caller"]) == ("", "hermes")


async def test_the_same_question_has_three_answers(stub: Any, courteous: str) -> None:
    question = "What is the weather in Berlin?"
    base, letter, caller = [
        await ask(stub, name, question, tools=TOOLS) for name in ("", courteous, "tool-caller")
    ]
    assert called(caller) == [("get_weather", "Berlin")]
    assert not base.only.calls
    assert not letter.only.calls
    assert len({base.only.content, letter.only.content, caller.only.content}) == 3


async def test_auto_calls_as_often_as_there_is_to_ask(stub: Any) -> None:
    one = await ask(stub, "tool-caller", "What time is it in Oslo?", tools=TOOLS)
    assert called(one) == [("get_time", "Oslo")]
    two = await ask(stub, "tool-caller", TWO, tools=TOOLS)
    assert called(two) == [("get_weather", "Berlin"), ("get_weather", "Lisbon")]
    for answer in (one, two):
        assert (answer.only.content, answer.only.reason) == ("", "tool_calls")


async def test_auto_may_answer_in_text(stub: Any) -> None:
    answer = await ask(stub, "tool-caller", "Thank you.", tools=TOOLS)
    assert (answer.only.calls, answer.only.reason) == ({}, "stop")
    assert answer.only.content


@pytest.mark.parametrize("choice", [None, REQUIRED])
async def test_calls_that_are_not_parallel_are_one(
    stub: Any, choice: llm_pb2.ToolChoice | None
) -> None:
    answer = await ask(
        stub, "tool-caller", TWO, tools=TOOLS, tool_choice=choice, parallel_tool_calls=False
    )
    assert called(answer) == [("get_weather", "Berlin")]
    assert answer.only.reason == "tool_calls"


async def test_required_calls_may_be_several(stub: Any) -> None:
    answer = await ask(stub, "tool-caller", TWO, tools=TOOLS, tool_choice=REQUIRED)
    assert called(answer) == [("get_weather", "Berlin"), ("get_weather", "Lisbon")]


async def test_required_calls_even_where_there_is_nothing_to_ask(stub: Any) -> None:
    answer = await ask(stub, "tool-caller", "Thank you.", tools=TOOLS, tool_choice=REQUIRED)
    assert answer.only.reason == "tool_calls"
    assert called(answer)


async def test_none_makes_no_call(stub: Any) -> None:
    answer = await ask(stub, "tool-caller", TWO, tools=TOOLS, tool_choice=NONE)
    assert answer.only.calls == {}
    assert answer.only.reason in {"stop", "length"}


async def test_a_named_tool_is_the_one_that_is_called(stub: Any) -> None:
    choice = llm_pb2.ToolChoice(tool="get_time")
    answer = await ask(stub, "tool-caller", TWO, tools=TOOLS, tool_choice=choice)
    ((name, _),) = called(answer)
    assert name == "get_time"
