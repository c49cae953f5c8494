"""Requests of the Responses API as those of mesh.llm.v1."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mesh.llm.v1 import llm_pb2
from mesh_gateway.openai import decoding, tools
from mesh_gateway.openai.parameters import RESPONSES, Refusals
from mesh_gateway.openai.params import ParamOf
from mesh_gateway.openai.requests import JsonObjectFormat, RefusalPart
from mesh_gateway.openai.responses_api.requests import (
    LOGPROBS,
    ChosenFunction,
    FunctionCallOutput,
    InputItem,
    InputMessage,
    InputText,
    JsonSchemaText,
    PastFunctionCall,
    PastReasoning,
    PastText,
    ResponseRequest,
    ToolChoice,
)
from mesh_gateway.openai.responses_api.said import INPUT, INSTRUCTIONS, Said

_refusals: Final = Refusals(RESPONSES)
_ROLES: Final = {
    "user": llm_pb2.ROLE_USER,
    "assistant": llm_pb2.ROLE_ASSISTANT,
    "system": llm_pb2.ROLE_SYSTEM,
    "developer": llm_pb2.ROLE_SYSTEM,
}


def chat(request: ResponseRequest) -> tuple[llm_pb2.ChatRequest, ParamOf]:
    """What a response asks of the llm, and what the fields of that were made of.

    Raises:
        InvalidArgument: a parameter is not supported, or does not go with another one.
    """
    _refusals.check(request)
    said = _said(request)
    message = llm_pb2.ChatRequest(
        messages=said.messages,
        sampling=_sampling(request),
        tools=[
            tools.tool(each, f"tools[{index}]") for index, each in enumerate(request.tools or ())
        ],
    )
    tools.choose(message, _tool_choice(request.tool_choice), request.parallel_tool_calls)
    _set_form(message.structured_output, request)
    return message, said.param_of


def _said(request: ResponseRequest) -> Said:
    said = Said()
    if request.instructions is not None:
        said.add(llm_pb2.ROLE_SYSTEM, _content(request.instructions), INSTRUCTIONS)
    if isinstance(request.input, str):
        said.add(llm_pb2.ROLE_USER, _content(request.input), INPUT)
        return said
    for index, each in enumerate(request.input):
        param = f"{INPUT}[{index}]"
        _add(said, _item(each, param), param)
    return said


def _item(given: Mapping[str, Any], param: str) -> InputItem:
    item: InputItem = decoding.convert({"type": "message", **given}, InputItem, param)
    return item


def _add(said: Said, item: InputItem, param: str) -> None:
    match item:
        case InputMessage(role, content):
            said.add(_ROLES[role], _content(content), param)
        case PastFunctionCall(call_id, name, arguments):
            said.add_call(llm_pb2.ToolCall(id=call_id, name=name, arguments=arguments), param)
        case FunctionCallOutput(call_id, output):
            said.add(llm_pb2.ROLE_TOOL, _content(output), param, call_id)
        case PastReasoning():
            pass


def _content(
    content: str | Sequence[InputText | PastText | RefusalPart],
) -> list[llm_pb2.ContentPart]:
    if isinstance(content, str):
        return [llm_pb2.ContentPart(text=content)]
    return [
        llm_pb2.ContentPart(text=each.refusal if isinstance(each, RefusalPart) else each.text)
        for each in content
    ]


def _sampling(request: ResponseRequest) -> llm_pb2.Sampling:
    shown = request.top_logprobs or LOGPROBS in (request.include or ())
    return llm_pb2.Sampling(
        temperature=request.temperature,
        top_p=request.top_p,
        max_tokens=request.max_output_tokens,
        logprobs=(request.top_logprobs or 0) if shown else None,
    )


def _tool_choice(choice: ToolChoice | None) -> llm_pb2.ToolChoice | None:
    if isinstance(choice, ChosenFunction):
        return tools.named(choice.name)
    return None if choice is None else tools.MODES[choice]


def _set_form(form: llm_pb2.StructuredOutput, request: ResponseRequest) -> None:
    match request.text and request.text.format:
        case JsonObjectFormat():
            form.json_object.SetInParent()
        case JsonSchemaText() as wanted:
            form.json_schema = decoding.schema_of(wanted.schema, "text.format.schema") or "{}"
