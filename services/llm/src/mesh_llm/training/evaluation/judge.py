"""Whether an answer is a call, whether it is the right one, and whether a text fits a schema."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jsonschema

from mesh_llm.tool_parser import ToolParser
from mesh_llm.training.evaluation.cases import ToolCase

_NAMES_OF_ARGUMENTS: Final = ("arguments", "parameters")
_FENCE: Final = "```"


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool.

    Attributes:
        name: of the tool.
        arguments: what it is called with.
    """

    name: str
    arguments: Mapping[str, Any]


def call_in_format(text: str, offered: list[str]) -> Call | None:
    """The first call in a text, in the format that the model was asked to keep to."""
    parser = ToolParser(offered)
    deltas = (*parser.feed(text).calls, *parser.finish().calls)
    name = "".join(delta.name for delta in deltas if not delta.index)
    arguments = "".join(delta.arguments for delta in deltas if not delta.index)
    return _call({"name": name, "arguments": arguments}) if name else None


def call_anywhere(text: str) -> Call | None:
    """The first thing in a text that is a call by its content, whatever stands around it."""
    return next((call for each in _objects(text) if (call := _call(each)) is not None), None)


def is_right(call: Call, case: ToolCase) -> bool:
    """Whether a call is the one that answers the question: all of its arguments, and no others."""
    if call.name != case.tool or call.arguments.keys() != case.arguments.keys():
        return False
    return all(
        any(_same(call.arguments[name], value) for value in values)
        for name, values in case.arguments.items()
    )


def fits(text: str, schema: Mapping[str, Any], *, in_fence: bool = False) -> bool:
    """Whether a text is JSON of a schema.

    Args:
        text: the whole answer.
        schema: the JSON Schema.
        in_fence: whether JSON in a fence of Markdown counts, too.
    """
    if in_fence and _FENCE in text:
        _, _, rest = text.partition(_FENCE)
        text = rest.partition(_FENCE)[0].removeprefix("json")
    try:
        jsonschema.validate(json.loads(text), schema)
    except (ValueError, jsonschema.ValidationError):
        return False
    return True


def _objects(text: str) -> Iterator[dict[str, Any]]:
    decoder = json.JSONDecoder()
    place = text.find("{")
    while place >= 0:
        try:
            value, _ = decoder.raw_decode(text, place)
        except ValueError:
            pass
        else:
            yield value
        place = text.find("{", place + 1)


def _call(value: Mapping[str, Any]) -> Call | None:
    name = value.get("name")
    arguments = next((value[key] for key in _NAMES_OF_ARGUMENTS if key in value), None)
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            return None
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return None
    return Call(name, arguments)


def _same(value: Any, right: Any) -> bool:
    """Whether two values say the same; how words are written in capitals makes no difference."""
    if isinstance(value, str) and isinstance(right, str):
        return value.strip().casefold() == right.strip().casefold()
    return type(value) is not bool and bool(value == right)
