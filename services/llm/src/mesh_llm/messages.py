"""The contract's messages in the model's terms, and back."""

from collections.abc import Iterable
from typing import Final

from mesh.llm.v1 import llm_pb2
from mesh_llm.answers import Delta, FinishReason, Progress, TokenLogprob, TokenLogprobs, Usage
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
    Part,
    Regex,
    Role,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
)
from meshkit.errors import InvalidArgument

_ROLES: Final = {
    llm_pb2.ROLE_SYSTEM: Role.SYSTEM,
    llm_pb2.ROLE_USER: Role.USER,
    llm_pb2.ROLE_ASSISTANT: Role.ASSISTANT,
    llm_pb2.ROLE_TOOL: Role.TOOL,
}
_TOOL_MODES: Final = {
    llm_pb2.TOOL_CHOICE_MODE_UNSPECIFIED: ToolMode.AUTO,
    llm_pb2.TOOL_CHOICE_MODE_AUTO: ToolMode.AUTO,
    llm_pb2.TOOL_CHOICE_MODE_NONE: ToolMode.NONE,
    llm_pb2.TOOL_CHOICE_MODE_REQUIRED: ToolMode.REQUIRED,
}
_REASONS: Final = {
    FinishReason.STOP: llm_pb2.FINISH_REASON_STOP,
    FinishReason.LENGTH: llm_pb2.FINISH_REASON_LENGTH,
    FinishReason.TOOL_CALLS: llm_pb2.FINISH_REASON_TOOL_CALLS,
    FinishReason.CONTENT_FILTER: llm_pb2.FINISH_REASON_CONTENT_FILTER,
}
# Fields of Sampling that the message has by the same name, each present or absent.
_OPTIONAL: Final = (
    *("max_tokens", "temperature", "top_p", "top_k", "min_p", "presence_penalty"),
    *("frequency_penalty", "repetition_penalty", "seed", "logprobs", "min_tokens"),
)


def chat_of(request: llm_pb2.ChatRequest) -> Chat:
    """What a ChatRequest asks for.

    Raises:
        InvalidArgument: a field has a value that the contract does not know.
    """
    parallel = request.parallel_tool_calls if request.HasField("parallel_tool_calls") else True
    return Chat(
        messages=[message_of(message) for message in request.messages],
        model=request.model,
        sampling=_sampling(request.sampling),
        tools=[tool_of(tool) for tool in request.tools],
        tool_choice=_tool_choice(request.tool_choice),
        parallel_tool_calls=parallel,
        form=_form(request.structured_output),
        priority=request.priority,
    )


def completion_of(request: llm_pb2.CompleteRequest) -> Completion:
    """What a CompleteRequest asks for.

    Raises:
        InvalidArgument: there is no prompt.
    """
    kind = request.WhichOneof("prompt")
    if kind is None:
        raise InvalidArgument.of_field("prompt", "is missing; send text or token_ids")
    return Completion(
        prompt=request.text if kind == "text" else tuple(request.token_ids.ids),
        model=request.model,
        sampling=_sampling(request.sampling),
        form=_form(request.structured_output),
        priority=request.priority,
    )


def message_of(message: llm_pb2.Message) -> Message:
    """A message of a conversation."""
    return Message(
        role=_ROLES.get(message.role),
        parts=[_part(part) for part in message.content],
        name=message.name,
        tool_calls=[ToolCall(call.id, call.name, call.arguments) for call in message.tool_calls],
        tool_call_id=message.tool_call_id,
    )


def tool_of(tool: llm_pb2.Tool) -> Tool:
    """A tool."""
    return Tool(tool.name, tool.description, tool.parameters)


def chat_response(progress: Progress, *, first: bool) -> llm_pb2.ChatResponse:
    """A step of a chat.

    Args:
        progress: the step.
        first: whether its choice begins with it.
    """
    response = llm_pb2.ChatResponse(usage=_usage(progress.usage))
    if progress.delta is not None:
        _fill_chat_delta(response.delta, progress.delta)
        if first:
            response.delta.role = llm_pb2.ROLE_ASSISTANT
    return response


def complete_response(progress: Progress) -> llm_pb2.CompleteResponse:
    """A step of a completion."""
    response = llm_pb2.CompleteResponse(usage=_usage(progress.usage))
    if (delta := progress.delta) is not None:
        response.delta.choice = delta.choice
        response.delta.text = delta.content
        response.delta.logprobs.extend(_logprobs(delta.logprobs))
        if delta.finish_reason is not None:
            response.delta.finish_reason = _REASONS[delta.finish_reason]
    return response


def _fill_chat_delta(message: llm_pb2.ChatDelta, delta: Delta) -> None:
    message.choice = delta.choice
    message.content = delta.content
    message.reasoning = delta.reasoning
    for call in delta.tool_calls:
        message.tool_calls.add(
            index=call.index, id=call.id, name=call.name, arguments=call.arguments
        )
    message.logprobs.extend(_logprobs(delta.logprobs))
    if delta.finish_reason is not None:
        message.finish_reason = _REASONS[delta.finish_reason]


def _usage(usage: Usage) -> llm_pb2.Usage:
    return llm_pb2.Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_prompt_tokens=usage.cached_prompt_tokens,
    )


def _logprobs(logprobs: Iterable[TokenLogprobs]) -> list[llm_pb2.TokenLogprobs]:
    return [
        llm_pb2.TokenLogprobs(token=_logprob(each.token), top=[_logprob(one) for one in each.top])
        for each in logprobs
    ]


def _logprob(token: TokenLogprob) -> llm_pb2.TokenLogprob:
    return llm_pb2.TokenLogprob(text=token.text, raw=token.raw, logprob=token.logprob, id=token.id)


def _part(part: llm_pb2.ContentPart) -> Part:
    if part.WhichOneof("part") == "image":
        return Image(part.image.media_type)
    return Text(part.text)


def _sampling(message: llm_pb2.Sampling) -> Sampling:
    given = {name: getattr(message, name) for name in _OPTIONAL if message.HasField(name)}
    return Sampling(
        stop=tuple(message.stop),
        n=message.n if message.HasField("n") else 1,
        logit_bias=dict(message.logit_bias),
        ignore_eos=message.ignore_eos,
        **given,
    )


def _tool_choice(message: llm_pb2.ToolChoice) -> ToolChoice:
    if message.WhichOneof("choice") == "tool":
        return NamedTool(message.tool)
    if message.mode not in _TOOL_MODES:
        raise InvalidArgument.of_field(
            "tool_choice.mode",
            f"is {message.mode}, which there is not; send auto, none or required",
        )
    return _TOOL_MODES[message.mode]


def _form(message: llm_pb2.StructuredOutput) -> Form | None:
    match message.WhichOneof("format"):
        case "json_schema":
            return JsonSchema(message.json_schema)
        case "json_object":
            return JsonObject()
        case "regex":
            return Regex(message.regex)
        case "choice":
            return Choice(tuple(message.choice.texts))
        case "grammar":
            return Grammar(message.grammar)
        case _:
            return None
