"""What rules out tokens."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from mesh_llm.engines.constraints import of_chat, of_form
from mesh_llm.requests import (
    Chat,
    Choice,
    Form,
    Grammar,
    JsonObject,
    JsonSchema,
    NamedTool,
    Regex,
    Tool,
    ToolMode,
)
from support import user

SEARCH = Tool("search", "Finds.", '{"type": "object", "required": ["q"]}')
STOP = Tool("stop")
SEARCH_TAG = {
    "type": "tag",
    "begin": '<tool_call>\n{"name": "search", "arguments": ',
    "content": {"type": "json_schema", "json_schema": {"type": "object", "required": ["q"]}},
    "end": "}\n</tool_call>",
}


def shape(tools: Sequence[Tool] = (SEARCH, STOP), **chat: Any) -> dict[str, Any]:
    constraint = of_chat(Chat([user("a")], tools=tools, **chat))
    assert constraint is not None
    told: dict[str, Any] = json.loads(constraint["structural_tag"])["format"]
    return told


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (None, None),
        (JsonSchema("{}"), {"json": "{}"}),
        (JsonObject(), {"json_object": True}),
        (Regex("a"), {"regex": "a"}),
        (Choice(("a", "b")), {"choice": ["a", "b"]}),
        (Grammar("root ::= x"), {"grammar": "root ::= x"}),
    ],
)
def test_forms(form: Form | None, expected: dict[str, Any] | None) -> None:
    assert of_form(form) == expected
    assert of_chat(Chat([user("a")], form=form)) == expected


def test_without_a_choice_of_tools_they_rule_nothing_out() -> None:
    assert of_chat(Chat([user("a")], tools=[SEARCH], tool_choice=ToolMode.NONE)) is None


def test_a_call_that_the_model_begins_keeps_to_the_schema() -> None:
    auto = shape()
    assert (auto["type"], auto["triggers"]) == ("triggered_tags", ["<tool_call>"])
    assert auto["tags"][0] == SEARCH_TAG
    assert [tag["begin"].split('"')[3] for tag in auto["tags"]] == ["search", "stop"]
    assert not auto["stop_after_first"]
    assert shape(parallel_tool_calls=False)["stop_after_first"]


def test_a_required_call_is_all_that_is_said() -> None:
    required = shape(tool_choice=ToolMode.REQUIRED)
    assert (required["type"], required["at_least_one"]) == ("tags_with_separator", True)
    assert not required["stop_after_first"]
    assert len(required["tags"]) == 2


@pytest.mark.parametrize("tools", [[SEARCH], [SEARCH, STOP]])
def test_a_named_tool_is_called_once(tools: list[Tool]) -> None:
    named = shape(tools=tools, tool_choice=NamedTool("search"))
    assert named["tags"] == [SEARCH_TAG]
    assert named["stop_after_first"]


@pytest.mark.parametrize(
    "form", [JsonSchema("{}"), JsonObject(), Regex("a"), Choice(("a", "b")), Grammar("root ::= x")]
)
def test_a_form_holds_where_no_tool_is_called(form: Form) -> None:
    either = shape(form=form)
    assert either["type"] == "or"
    assert either["elements"][1]["type"] == "tags_with_separator"
