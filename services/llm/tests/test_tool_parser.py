"""Tool calls in what a model says, however it is cut into pieces."""

import itertools
import json
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_llm.tool_parser import CLOSE, OPEN, Parsed, ToolParser

TOOLS = ("get_weather", "search")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
ARGUMENTS = st.dictionaries(st.text(max_size=6), JSON, max_size=3)
# What may be said around calls: with brackets and quotes, but never a tag.
SPEECH = st.text(alphabet=st.sampled_from('ab {}"\\\n<>/'), max_size=20)


def call(name: str, arguments: object) -> str:
    return f'{OPEN}\n{{"name": "{name}", "arguments": {json.dumps(arguments)}}}\n{CLOSE}'


def parse(pieces: Iterable[str]) -> tuple[str, list[tuple[str, str]]]:
    """The content, and the name and arguments of each call."""
    ids = (f"call-{number}" for number in itertools.count())
    parser = ToolParser(TOOLS, lambda: next(ids))
    steps: list[Parsed] = [parser.feed(piece) for piece in pieces]
    steps.append(parser.finish())
    calls: list[tuple[str, str]] = []
    for delta in (each for step in steps for each in step.calls):
        if delta.name:
            assert (delta.index, delta.id) == (len(calls), f"call-{len(calls)}")
            calls.append((delta.name, delta.arguments))
        else:
            assert (delta.index, delta.id) == (len(calls) - 1, "")
            calls[-1] = (calls[-1][0], calls[-1][1] + delta.arguments)
    return "".join(step.content for step in steps), calls


def cut(text: str, places: Sequence[int]) -> list[str]:
    ends = sorted({place % (len(text) + 1) for place in places})
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]


@given(SPEECH, st.lists(st.tuples(st.sampled_from(TOOLS), ARGUMENTS), max_size=3), st.data())
def test_what_is_said_and_called_is_found_however_it_is_cut(
    speech: str, calls: list[tuple[str, dict[str, object]]], data: st.DataObject
) -> None:
    text = speech + "\n".join(call(name, arguments) for name, arguments in calls)
    pieces = cut(text, data.draw(st.lists(st.integers(0, 500), max_size=12)))
    content, found = parse(pieces)
    assert content == (speech.rstrip() if calls else speech)
    assert [(name, json.loads(arguments)) for name, arguments in found] == calls


@given(
    st.text(alphabet=st.sampled_from('<tool_call>/{}"name:arguments, \n'), max_size=80), st.data()
)
def test_any_text_is_read_alike_however_it_is_cut(text: str, data: st.DataObject) -> None:
    text = text.replace("x", OPEN).replace("y", CLOSE)
    pieces = cut(text, data.draw(st.lists(st.integers(0, 500), max_size=12)))
    assert parse(pieces) == parse([text])


@pytest.mark.parametrize(
    "text",
    [
        f'{OPEN}\n{{"name": "unknown", "arguments": {{}}}}\n{CLOSE}',
        f"  {OPEN}nothing of the kind{CLOSE}",
        f'{OPEN}{{"name": "search", "arguments": "a text"}}{CLOSE}',
        f"so: {OPEN}",
        f"{OPEN}{{",
        "<tool",
        f"{CLOSE} alone",
    ],
)
def test_what_is_no_call_is_content(text: str) -> None:
    assert parse([text]) == (text, [])
    assert parse(list(text)) == (text, [])


def test_arguments_come_while_they_are_generated() -> None:
    parser = ToolParser(TOOLS, lambda: "an-id")
    assert parser.feed("Let me see.\n<tool_") == Parsed("Let me see.")
    (begun,) = parser.feed('call>\n{"name": "search", "arguments": {').calls[:1]
    assert (begun.index, begun.id, begun.name) == (0, "an-id", "search")
    assert [delta.arguments for delta in parser.feed('"q": "a').calls] == ['"q": "a']
    assert [delta.arguments for delta in parser.feed('}"}').calls] == ['}"}']
    assert parser.feed("}\n</tool_call>") == Parsed()
    assert parser.finish() == Parsed()


def test_arguments_before_the_name_are_found_too() -> None:
    text = f'{OPEN}{{"arguments": {{"q": 1}}, "name": "search"}}{CLOSE}'
    assert parse(list(text)) == ("", [("search", '{"q": 1}')])


def test_arguments_that_break_off_are_given_as_far_as_they_go() -> None:
    text = f'{OPEN}\n{{"name": "search", "arguments": {{"q": "long'
    assert parse([text]) == ("", [("search", '{"q": "long')])
