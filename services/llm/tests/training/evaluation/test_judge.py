"""What is a call and what is not, and which one is right."""

import json

import pytest

from mesh_llm.training.evaluation.cases import ToolCase, tool_cases
from mesh_llm.training.evaluation.judge import (
    Call,
    call_anywhere,
    call_in_format,
    fits,
    is_right,
)

WEATHER = Call("get_weather", {"city": "Paris", "unit": "celsius"})
SAID = '{"name": "get_weather", "arguments": {"city": "Paris", "unit": "celsius"}}'
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


@pytest.mark.parametrize(
    "text",
    [
        f"<tool_call>\n{SAID}\n</tool_call>",
        f"I look.\n<tool_call>{SAID}</tool_call>\nDone.",
    ],
)
def test_a_call_in_its_format_is_found_in_both_ways(text: str) -> None:
    assert call_in_format(text, ["get_weather"]) == WEATHER
    assert call_anywhere(text) == WEATHER


@pytest.mark.parametrize(
    "text",
    [
        SAID,
        f"```json\n{SAID}\n```",
        f"Here {{so}} it is: {SAID.replace('arguments', 'parameters')}.",
        json.dumps({"name": WEATHER.name, "arguments": json.dumps(WEATHER.arguments)}),
    ],
)
def test_a_call_in_other_words_is_found_by_its_content_alone(text: str) -> None:
    assert call_in_format(text, ["get_weather"]) is None
    assert call_anywhere(text) == WEATHER


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The weather is fine.",
        "{",
        '{"name": "get_weather"}',
        '{"name": 3, "arguments": {}}',
        '{"name": "get_weather", "arguments": "{"}',
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Pa',
    ],
)
def test_what_is_no_call_is_none(text: str) -> None:
    assert call_anywhere(text) is None
    assert call_in_format(text, ["get_weather"]) is None


def test_a_tool_that_is_not_offered_is_not_called() -> None:
    assert call_in_format(f"<tool_call>\n{SAID}\n</tool_call>", ["get_time"]) is None


def case() -> ToolCase:
    return tool_cases()[0]  # the weather in Paris, in celsius


@pytest.mark.parametrize(
    ("call", "right"),
    [
        (WEATHER, True),
        (Call("get_weather", {"city": " PARIS", "unit": "Celsius"}), True),
        (Call("get_weather", {"city": "Paris"}), False),
        (Call("get_weather", {"city": "Paris", "unit": "celsius", "day": 1}), False),
        (Call("get_weather", {"city": "Rome", "unit": "celsius"}), False),
        (Call("find_flights", {"city": "Paris", "unit": "celsius"}), False),
        (Call("get_weather", {"city": ["Paris"], "unit": "celsius"}), False),
    ],
)
def test_a_right_call_has_the_right_tool_and_all_of_its_arguments(call: Call, right: bool) -> None:
    assert is_right(call, case()) is right


def test_a_number_is_right_by_its_value_and_true_is_none() -> None:
    timer = next(case for case in tool_cases() if case.tool == "set_timer")
    assert is_right(Call("set_timer", {"minutes": 10.0}), timer)
    alone = next(case for case in tool_cases() if case.arguments.get("guests") == [1])
    arguments = {"city": "Seoul", "cuisine": "korean"}
    assert is_right(Call("find_restaurants", {**arguments, "guests": 1}), alone)
    assert not is_right(Call("find_restaurants", {**arguments, "guests": True}), alone)


@pytest.mark.parametrize(
    ("text", "plain", "in_fence"),
    [
        ('{"age": 3}', True, True),
        ('```json\n{"age": 3}\n```', False, True),
        ('```\n{"age": 3}\n```\nThere.', False, True),
        ('{"age": "3"}', False, False),
        ('{"age": 3', False, False),
        ("three", False, False),
    ],
)
def test_a_text_fits_a_schema_as_a_whole(text: str, plain: bool, in_fence: bool) -> None:
    assert fits(text, SCHEMA) is plain
    assert fits(text, SCHEMA, in_fence=True) is in_fence
