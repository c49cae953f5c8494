"""Requests in the words of OpenAI's protocol."""

import json
from typing import Any, Final

from mesh_llm.requests import (
    Chat,
    Completion,
    Form,
    JsonObject,
    JsonSchema,
    Message,
    NamedTool,
    Role,
    Sampling,
    Tool,
)
from meshkit.errors import InvalidArgument

# Those of our settings that the protocol calls by the same name. What OpenAI itself does not know
# (top_k and the like) is sent only where it is set, for upstreams that do.
_SAME: Final = (
    *("max_tokens", "temperature", "top_p", "top_k", "min_p", "presence_penalty"),
    *("frequency_penalty", "repetition_penalty", "seed", "min_tokens"),
)


def chat_body(chat: Chat, model: str) -> dict[str, Any]:
    """The body of a chat completion.

    Args:
        chat: what is asked.
        model: what the upstream calls the model.

    Raises:
        InvalidArgument: the protocol has no way to ask for that.
    """
    body = {
        "messages": [message_body(message) for message in chat.messages],
        **_common(chat.sampling, model, chat.priority),
    }
    if chat.sampling.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": chat.sampling.logprobs}
    if chat.tools:
        body["tools"] = [tool_body(tool) for tool in chat.tools]
        body["tool_choice"] = _tool_choice(chat)
        if not chat.parallel_tool_calls:
            body["parallel_tool_calls"] = False
    if chat.form is not None:
        body["response_format"] = _response_format(chat.form)
    return body


def completion_body(completion: Completion, model: str) -> dict[str, Any]:
    """The body of a completion; as `chat_body`."""
    if completion.form is not None:
        raise InvalidArgument.of_field(
            "structured_output", "is not taken by this upstream for a completion; use Chat"
        )
    prompt = completion.prompt
    body = {
        "prompt": prompt if isinstance(prompt, str) else list(prompt),
        **_common(completion.sampling, model, completion.priority),
    }
    if completion.sampling.logprobs is not None:
        body["logprobs"] = completion.sampling.logprobs
    return body


def message_body(message: Message) -> dict[str, Any]:
    """A message as the protocol has it; chat templates read the same form."""
    body: dict[str, Any] = {"role": str(message.role), "content": message.text}
    if message.name:
        body["name"] = message.name
    if message.tool_calls:
        body["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.role is Role.TOOL:
        body["tool_call_id"] = message.tool_call_id
    return body


def tool_body(tool: Tool) -> dict[str, Any]:
    """A tool as the protocol has it; chat templates read the same form."""
    function = {"name": tool.name, "description": tool.description}
    return {"type": "function", "function": {**function, "parameters": parameters_of(tool)}}


def parameters_of(tool: Tool) -> Any:
    """The JSON Schema of a tool's arguments."""
    if not tool.parameters:
        return {"type": "object", "properties": {}, "additionalProperties": False}
    return json.loads(tool.parameters)


def _common(sampling: Sampling, model: str, priority: int) -> dict[str, Any]:
    given = {name: getattr(sampling, name) for name in _SAME}
    body: dict[str, Any] = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        **{name: value for name, value in given.items() if value is not None},
    }
    if sampling.n > 1:
        body["n"] = sampling.n
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias.items()}
    if sampling.ignore_eos:
        body["ignore_eos"] = True
    if priority:
        body["priority"] = priority
    return body


def _tool_choice(chat: Chat) -> Any:
    if isinstance(chat.tool_choice, NamedTool):
        return {"type": "function", "function": {"name": chat.tool_choice.name}}
    return chat.tool_choice.value


def _response_format(form: Form) -> dict[str, Any]:
    if isinstance(form, JsonSchema):
        described = {"name": "answer", "strict": True, "schema": json.loads(form.schema)}
        return {"type": "json_schema", "json_schema": described}
    if isinstance(form, JsonObject):
        return {"type": "json_object"}
    name = type(form).__name__.lower()
    raise InvalidArgument.of_field(
        f"structured_output.{name}",
        "is not taken by this upstream, which knows json_schema and json_object; send one of those",
    )
