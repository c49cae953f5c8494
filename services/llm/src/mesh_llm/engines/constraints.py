"""What rules out tokens: the form of an answer and the calls of tools, in the words of vLLM.

Calls are constrained by structural tags: within a call's tags every token keeps to the schema of
the tool's arguments, so that they always parse. Source: xgrammar, "Structural tag".
"""

import json
from typing import Any, Final

from mesh_llm.engines.openai_bodies import parameters_of
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
)
from mesh_llm.tool_parser import CLOSE, OPEN

_SEPARATOR: Final = "\n"


def of_form(form: Form | None) -> dict[str, Any] | None:
    """The parameters of a form; None where everything may be said."""
    match form:
        case JsonSchema(schema):
            return {"json": schema}
        case JsonObject():
            return {"json_object": True}
        case Regex(pattern):
            return {"regex": pattern}
        case Choice(texts):
            return {"choice": list(texts)}
        case Grammar(text):
            return {"grammar": text}
        case _:
            return None


def of_chat(chat: Chat) -> dict[str, Any] | None:
    """The parameters of a conversation's answer; None where everything may be said."""
    if not chat.offered:
        return of_form(chat.form)
    tags = [_tag(tool) for tool in chat.offered]
    once = not chat.parallel_tool_calls
    if chat.forced:
        shape = _calls(tags, once=once or isinstance(chat.tool_choice, NamedTool))
    elif chat.form is None:
        # Free text, until a call begins.
        shape = {"type": "triggered_tags", "triggers": [OPEN], "tags": tags}
        shape |= {"stop_after_first": once}
    else:
        shape = {"type": "or", "elements": [_form_tag(chat.form), _calls(tags, once=once)]}
    return {"structural_tag": json.dumps({"type": "structural_tag", "format": shape})}


def _calls(tags: list[dict[str, Any]], *, once: bool) -> dict[str, Any]:
    """Nothing but calls, one at least."""
    return {
        "type": "tags_with_separator",
        "tags": tags,
        "separator": _SEPARATOR,
        "at_least_one": True,
        "stop_after_first": once,
    }


def _tag(tool: Tool) -> dict[str, Any]:
    begin = f'{OPEN}\n{{"name": {json.dumps(tool.name)}, "arguments": '
    content = {"type": "json_schema", "json_schema": parameters_of(tool)}
    return {"type": "tag", "begin": begin, "content": content, "end": f"}}\n{CLOSE}"}


def _form_tag(form: Form) -> dict[str, Any]:
    match form:
        case JsonSchema(schema):
            return {"type": "json_schema", "json_schema": json.loads(schema)}
        case JsonObject():
            return {"type": "json_schema", "json_schema": {"type": "object"}}
        case Regex(pattern):
            return {"type": "regex", "pattern": pattern}
        case Grammar(text):
            return {"type": "grammar", "grammar": text}
        case Choice(texts):
            options = [{"type": "const_string", "value": text} for text in texts]
            return {"type": "or", "elements": options}
