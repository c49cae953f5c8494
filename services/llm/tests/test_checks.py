"""Each fault of a request is told with its field."""

import math
from typing import Any

import pytest

from mesh_llm.checks import Limits, check_chat, check_completion, check_messages, check_tools
from mesh_llm.requests import (
    Chat,
    Choice,
    Completion,
    Form,
    Grammar,
    Image,
    JsonObject,
    JsonSchema,
    Message,
    NamedTool,
    Regex,
    Role,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolMode,
)
from meshkit.errors import InvalidArgument, MeshError, NotFound
from support import user

LIMITS = Limits(models=["llm", "llm-french"], max_choices=4, max_prompt_bytes=1000)
SEARCH = Tool("search", "Finds.", '{"type": "object"}')
CALL = ToolCall("call-1", "search", "{}")


def field_of(chat: Chat) -> str:
    with pytest.raises(InvalidArgument) as caught:
        check_chat(chat, LIMITS)
    (violation,) = caught.value.violations
    assert caught.value.message == f"{violation.field} {violation.description}"
    return violation.field


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([], "messages"),
        ([user("a")] * 3000, "messages"),
        ([Message(None, [Text("a")])], "messages[0].role"),
        (
            [user("a"), Message(Role.USER, [Text("a"), Image("image/png")])],
            "messages[1].content[1]",
        ),
        ([Message(Role.TOOL, [Text("a")], tool_call_id="call-1")], "messages[0].tool_call_id"),
        (
            [
                Message(Role.ASSISTANT, tool_calls=[CALL]),
                Message(Role.TOOL, [Text("a")], tool_call_id="call-2"),
            ],
            "messages[1].tool_call_id",
        ),
        ([Message(Role.USER, [Text("a")], tool_calls=[CALL])], "messages[0].tool_calls"),
        (
            [Message(Role.ASSISTANT, tool_calls=[ToolCall("", "search", "{}")])],
            "messages[0].tool_calls[0].id",
        ),
        (
            [Message(Role.ASSISTANT, tool_calls=[ToolCall("c", "", "{}")])],
            "messages[0].tool_calls[0].name",
        ),
        (
            [Message(Role.ASSISTANT, tool_calls=[CALL, ToolCall("c", "search", "[1]")])],
            "messages[0].tool_calls[1].arguments",
        ),
        ([user("\u00e9" * 501)], "messages"),
    ],
)
def test_messages(messages: list[Message], field: str) -> None:
    assert field_of(Chat(messages)) == field


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "is no JSON"),
        ('{"a": NaN}', "NaN is no JSON"),
        ('"a"', "send a JSON object as text"),
        ('{"a": "\\ud83d"}', "half a character"),
        ('{"a": ' * 40 + "1" + "}" * 40, "over 32 levels"),
        ('{"a": ' * 50_000, "over 32 levels"),
        (f'{{"a": [{"1," * 70_000}1]}}', "over 65536 values"),
    ],
)
def test_arguments_that_no_template_could_write_are_refused(arguments: str, said: str) -> None:
    call = Message(Role.ASSISTANT, tool_calls=[ToolCall("c", "search", arguments)])
    with pytest.raises(InvalidArgument, match=said) as caught:
        check_chat(Chat([user("a"), call]), LIMITS)
    assert caught.value.violations[0].field == "messages[1].tool_calls[0].arguments"


def test_a_whole_character_may_be_escaped() -> None:
    check_messages(
        [Message(Role.ASSISTANT, tool_calls=[ToolCall("c", "f", '{"a": "\\ud83e\\udd8a"}')])],
        "messages",
    )


def test_a_result_after_its_call_is_taken() -> None:
    messages = [
        user("a"),
        Message(Role.ASSISTANT, tool_calls=[CALL]),
        Message(Role.TOOL, tool_call_id="call-1"),
    ]
    check_chat(Chat(messages), LIMITS)


def test_empty_content_is_taken() -> None:
    check_chat(Chat([Message(Role.USER)]), LIMITS)


@pytest.mark.parametrize(
    ("sampling", "field"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -3}, "max_tokens"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"temperature": math.inf}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_k": -2}, "top_k"),
        ({"min_p": 1.5}, "min_p"),
        ({"presence_penalty": 2.5}, "presence_penalty"),
        ({"frequency_penalty": -2.5}, "frequency_penalty"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"n": 0}, "n"),
        ({"n": 5}, "n"),
        ({"logprobs": 21}, "logprobs"),
        ({"logprobs": -1}, "logprobs"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"stop": ["a", ""]}, "stop[1]"),
        ({"stop": ["a" * 513]}, "stop[0]"),
        ({"logit_bias": {5: 101.0}}, "logit_bias[5]"),
        ({"logit_bias": {5: math.nan}}, "logit_bias[5]"),
        ({"logit_bias": dict.fromkeys(range(2000), 0.0)}, "logit_bias"),
        ({"min_tokens": -1}, "min_tokens"),
        ({"min_tokens": 9, "max_tokens": 8}, "min_tokens"),
    ],
)
def test_sampling(sampling: dict[str, Any], field: str) -> None:
    assert field_of(Chat([user("a")], sampling=Sampling(**sampling))) == f"sampling.{field}"


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 0.0},
        {"temperature": 2.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0},
        {"n": 4, "logprobs": 20, "seed": -(2**63) + 1},
        {"max_tokens": 1, "min_tokens": 1},
    ],
)
def test_the_ends_of_each_range_are_taken(sampling: dict[str, Any]) -> None:
    check_chat(Chat([user("a")], sampling=Sampling(**sampling)), LIMITS)


@pytest.mark.parametrize(
    ("tools", "choice", "field"),
    [
        ([Tool("")], ToolMode.AUTO, "tools[0].name"),
        ([Tool("a b")], ToolMode.AUTO, "tools[0].name"),
        ([Tool("a" * 65)], ToolMode.AUTO, "tools[0].name"),
        ([SEARCH, SEARCH], ToolMode.AUTO, "tools[1].name"),
        ([Tool("a", parameters="{")], ToolMode.NONE, "tools[0].parameters"),
        ([Tool(f"t{number}") for number in range(129)], ToolMode.AUTO, "tools"),
        ([SEARCH], NamedTool("other"), "tool_choice.tool"),
        ([], ToolMode.REQUIRED, "tool_choice.mode"),
    ],
)
def test_tools(tools: list[Tool], choice: ToolMode | NamedTool, field: str) -> None:
    assert field_of(Chat([user("a")], tools=tools, tool_choice=choice)) == field


@pytest.mark.parametrize(
    ("form", "field"),
    [
        (JsonSchema("{"), "structured_output.json_schema"),
        (Regex("("), "structured_output.regex"),
        (Grammar(""), "structured_output.grammar"),
        (Choice(["a"]), "structured_output.choice"),
        (Choice(["a", "a"]), "structured_output.choice"),
        (Choice(["a", ""]), "structured_output.choice"),
        (Choice(["a" * 40_000, "b" * 40_000]), "structured_output.choice"),
    ],
)
def test_forms(form: Form, field: str) -> None:
    assert field_of(Chat([user("a")], form=form)) == field
    with pytest.raises(InvalidArgument, match=field):
        check_completion(Completion("a", form=form), LIMITS)


def test_a_form_beside_a_forced_call_is_refused() -> None:
    chat = Chat([user("a")], tools=[SEARCH], tool_choice=NamedTool("search"), form=JsonObject())
    assert field_of(chat) == "structured_output"


def test_a_model_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    check_chat(Chat([user("a")], model="llm-french"), LIMITS)
    with pytest.raises(NotFound, match="model is 'gpt' and there are: llm, llm-french") as caught:
        check_chat(Chat([user("a")], model="gpt"), LIMITS)
    assert caught.value.reason == "MODEL_NOT_FOUND"


@pytest.mark.parametrize(
    ("completion", "field"),
    [
        (Completion(""), "text"),
        (Completion(()), "token_ids"),
        (Completion("a" * 1001), "text"),
        (Completion("a", priority=2_000_000), "priority"),
        (Completion("a", sampling=Sampling(n=9)), "sampling.n"),
    ],
)
def test_completions(completion: Completion, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_completion(completion, LIMITS)
    assert [each.field for each in caught.value.violations] == [field]


def test_fields_are_called_as_the_caller_calls_them() -> None:
    with pytest.raises(MeshError, match=r"conversation\.messages is empty"):
        check_messages([], "conversation.messages")
    with pytest.raises(MeshError, match=r"conversation\.tools\[0\]\.name"):
        check_tools([Tool("")], "conversation.tools")
