"""What is wrong with a request, before an engine sees it: each fault with its field."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from mesh_llm import bounds
from mesh_llm.bounds import Unfit
from mesh_llm.requests import (
    Chat,
    Choice,
    Completion,
    Form,
    Grammar,
    Image,
    JsonSchema,
    Message,
    NamedTool,
    Regex,
    Role,
    Sampling,
    Tool,
    ToolMode,
)
from meshkit.errors import InvalidArgument, NotFound

MAX_MESSAGES: Final = 2048
MAX_TOOLS: Final = 128
MAX_STOPS: Final = 16
MAX_STOP_BYTES: Final = 512
MAX_LOGPROBS: Final = 20
MAX_BIASES: Final = 1024
MAX_PRIORITY: Final = 1_000_000
_TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
# Each number's range, and whether its lower end is part of it.
_RANGES: Final[tuple[tuple[str, float, float, bool], ...]] = (
    ("temperature", 0, 2, True),
    ("top_p", 0, 1, False),
    ("min_p", 0, 1, True),
    ("presence_penalty", -2, 2, True),
    ("frequency_penalty", -2, 2, True),
    ("repetition_penalty", 0, 2, False),
    ("logprobs", 0, MAX_LOGPROBS, True),
    ("seed", -(2**63) + 1, 2**63 - 1, True),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may ask for.

    Attributes:
        models: those that it may name, the base first.
        max_choices: most choices.
        max_prompt_bytes: most bytes of UTF-8 in messages and tools, or in the prompt.
    """

    models: Sequence[str]
    max_choices: int
    max_prompt_bytes: int


def check_chat(chat: Chat, limits: Limits) -> None:
    """Refuses a conversation that no engine could continue.

    Raises:
        InvalidArgument: names the field at fault.
        NotFound: there is no such model.
    """
    check_model(chat.model, limits)
    check_messages(chat.messages, "messages")
    check_tools(chat.tools, "tools")
    _check_tool_choice(chat)
    check_size(chat.messages, chat.tools, "messages", limits.max_prompt_bytes)
    _check_sampling(chat.sampling, limits)
    _check_form(chat.form)
    _check_priority(chat.priority)
    if chat.form is not None and chat.forced:
        raise InvalidArgument.of_field(
            "structured_output",
            "stands beside a tool_choice that forces a call, whose arguments have the form of the "
            "tool's schema; leave one of the two out",
        )


def check_completion(completion: Completion, limits: Limits) -> None:
    """Refuses a text that no engine could continue.

    Raises:
        InvalidArgument: names the field at fault.
        NotFound: there is no such model.
    """
    check_model(completion.model, limits)
    prompt = completion.prompt
    field = "text" if isinstance(prompt, str) else "token_ids"
    if not prompt:
        raise InvalidArgument.of_field(field, "is empty; send one token at least")
    if isinstance(prompt, str):
        check_bytes(len(prompt.encode()), field, limits.max_prompt_bytes)
    _check_sampling(completion.sampling, limits)
    _check_form(completion.form)
    _check_priority(completion.priority)


def check_messages(messages: Sequence[Message], field: str) -> None:
    """Refuses a conversation that makes no sense.

    Raises:
        InvalidArgument: names the message at fault.
    """
    if not messages:
        raise InvalidArgument.of_field(field, "is empty; send one message at least")
    if len(messages) > MAX_MESSAGES:
        raise InvalidArgument.of_field(
            field, f"has {len(messages)} messages and may have {MAX_MESSAGES}; leave out old ones"
        )
    called: set[str] = set()
    for index, message in enumerate(messages):
        _check_message(message, f"{field}[{index}]", called)
        called.update(call.id for call in message.tool_calls)


def _check_message(message: Message, field: str, called: set[str]) -> None:
    if message.role is None:
        roles = ", ".join(Role)
        raise InvalidArgument.of_field(f"{field}.role", f"is unknown; send one of {roles}")
    for place, part in enumerate(message.parts):
        if isinstance(part, Image):
            raise InvalidArgument.of_field(
                f"{field}.content[{place}]",
                f"is an image ({part.media_type or 'of an unknown type'}) and this model reads "
                "text alone; leave it out, or describe it in text",
            )
    if message.tool_calls and message.role is not Role.ASSISTANT:
        raise InvalidArgument.of_field(
            f"{field}.tool_calls",
            f"stands in a message of the role {message.role}; only the assistant calls tools",
        )
    for place, call in enumerate(message.tool_calls):
        _check_past_call(call.id, call.name, call.arguments, f"{field}.tool_calls[{place}]")
    if message.role is Role.TOOL and message.tool_call_id not in called:
        raise InvalidArgument.of_field(
            f"{field}.tool_call_id",
            f"is {message.tool_call_id!r} and no earlier message has a call of that id; send the "
            "assistant's message with the call before its result",
        )


def _check_past_call(call_id: str, name: str, arguments: str, field: str) -> None:
    if not call_id:
        raise InvalidArgument.of_field(f"{field}.id", "is empty; send the id that the call had")
    if not name:
        raise InvalidArgument.of_field(f"{field}.name", "is empty; send the name of the tool")
    _fits(f"{field}.arguments", partial(bounds.check_arguments, arguments))


def check_tools(tools: Sequence[Tool], field: str) -> None:
    """Refuses tools that can't be offered.

    Raises:
        InvalidArgument: names the tool at fault.
    """
    if len(tools) > MAX_TOOLS:
        raise InvalidArgument.of_field(
            field, f"has {len(tools)} tools and may have {MAX_TOOLS}; offer fewer"
        )
    names: set[str] = set()
    for index, tool in enumerate(tools):
        place = f"{field}[{index}]"
        if not _TOOL_NAME.fullmatch(tool.name):
            raise InvalidArgument.of_field(
                f"{place}.name",
                f"is {tool.name[:80]!r}; use 1 to 64 letters, digits, '_' and '-'",
            )
        if tool.name in names:
            raise InvalidArgument.of_field(
                f"{place}.name", f"is {tool.name!r}, as an earlier tool's; give each its own name"
            )
        names.add(tool.name)
        if tool.parameters:
            _fits(f"{place}.parameters", partial(bounds.check_schema, tool.parameters))


def _check_tool_choice(chat: Chat) -> None:
    choice = chat.tool_choice
    if isinstance(choice, NamedTool) and choice.name not in {tool.name for tool in chat.tools}:
        offered = ", ".join(tool.name for tool in chat.tools) or "none"
        raise InvalidArgument.of_field(
            "tool_choice.tool", f"is {choice.name!r} and the tools are: {offered}; name one of them"
        )
    if choice is ToolMode.REQUIRED and not chat.tools:
        raise InvalidArgument.of_field(
            "tool_choice.mode", "requires a call and tools is empty; offer one tool at least"
        )


def check_size(
    messages: Sequence[Message], tools: Sequence[Tool], field: str, max_bytes: int
) -> None:
    """Refuses what is far too long to be read, without counting its tokens.

    Raises:
        InvalidArgument: names the field, the size and the limit.
    """
    size = sum(len(message.text.encode()) for message in messages)
    size += sum(len(call.arguments.encode()) for each in messages for call in each.tool_calls)
    size += sum(len(tool.description.encode()) + len(tool.parameters) for tool in tools)
    check_bytes(size, field, max_bytes)


def check_bytes(size: int, field: str, max_bytes: int) -> None:
    """Refuses what is too long.

    Raises:
        InvalidArgument: names the field, the size and the limit.
    """
    if size > max_bytes:
        raise InvalidArgument.of_field(
            field, f"has {size} bytes of UTF-8 and may have {max_bytes}; send less"
        )


def check_model(model: str, limits: Limits) -> None:
    """Refuses a name that no model here has; none is the first one's.

    Raises:
        NotFound: says which there are.
    """
    if model and model not in limits.models:
        raise NotFound(
            f"model is {model[:100]!r} and there are: {', '.join(limits.models)}; name one of "
            "them, or none for the first",
            reason="MODEL_NOT_FOUND",
        )


def _check_sampling(sampling: Sampling, limits: Limits) -> None:
    for name, low, high, closed in _RANGES:
        value: float | None = getattr(sampling, name)
        if value is None:
            continue
        above = value >= low if closed else value > low
        if not (math.isfinite(value) and above and value <= high):
            ends = f"{'[' if closed else '('}{low}, {high}]"
            raise InvalidArgument.of_field(
                f"sampling.{name}", f"is {value:g}; send a number in {ends}"
            )
    _check_counts(sampling, limits)
    _check_stops(sampling.stop)
    if len(sampling.logit_bias) > MAX_BIASES:
        raise InvalidArgument.of_field(
            "sampling.logit_bias",
            f"has {len(sampling.logit_bias)} tokens and may have {MAX_BIASES}; send fewer",
        )
    for token, bias in sampling.logit_bias.items():
        if not -100 <= bias <= 100:
            raise InvalidArgument.of_field(
                f"sampling.logit_bias[{token}]", f"is {bias:g}; send a number in [-100, 100]"
            )


def check_choices(sampling: Sampling, most: int) -> None:
    """Refuses a number of choices that nobody may have.

    Raises:
        InvalidArgument: says how many there may be.
    """
    if not 1 <= sampling.n <= most:
        raise InvalidArgument.of_field(
            "sampling.n", f"is {sampling.n}; send a number from 1 to {most}"
        )


def _check_counts(sampling: Sampling, limits: Limits) -> None:
    check_choices(sampling, limits.max_choices)
    if sampling.max_tokens is not None and sampling.max_tokens < 1:
        raise InvalidArgument.of_field(
            "sampling.max_tokens", f"is {sampling.max_tokens}; send 1 at least, or leave it out"
        )
    if sampling.top_k is not None and sampling.top_k < 0:
        raise InvalidArgument.of_field(
            "sampling.top_k", f"is {sampling.top_k}; send 1 at least, or 0 for all tokens"
        )
    most = sampling.max_tokens
    least = sampling.min_tokens
    if least is not None and (least < 0 or (most is not None and least > most)):
        up_to = "0 at least" if most is None else f"a number from 0 to max_tokens ({most})"
        raise InvalidArgument.of_field("sampling.min_tokens", f"is {least}; send {up_to}")


def _check_stops(stops: Sequence[str]) -> None:
    if len(stops) > MAX_STOPS:
        raise InvalidArgument.of_field(
            "sampling.stop", f"has {len(stops)} texts and may have {MAX_STOPS}; send fewer"
        )
    for index, stop in enumerate(stops):
        size = len(stop.encode())
        if not 1 <= size <= MAX_STOP_BYTES:
            raise InvalidArgument.of_field(
                f"sampling.stop[{index}]",
                f"has {size} bytes of UTF-8; send a text of 1 to {MAX_STOP_BYTES}",
            )


def _check_priority(priority: int) -> None:
    if abs(priority) > MAX_PRIORITY:
        raise InvalidArgument.of_field(
            "priority", f"is {priority}; send a number from -{MAX_PRIORITY} to {MAX_PRIORITY}"
        )


def _check_form(form: Form | None) -> None:
    field = "structured_output"
    match form:
        case JsonSchema(schema):
            _fits(f"{field}.json_schema", partial(bounds.check_schema, schema))
        case Regex(pattern):
            _fits(f"{field}.regex", partial(bounds.check_regex, pattern))
        case Grammar(text):
            _fits(f"{field}.grammar", partial(bounds.check_grammar, text))
        case Choice(texts):
            _fits(f"{field}.choice", partial(_check_choice, texts))
        case _:
            pass


def _check_choice(texts: Sequence[str]) -> None:
    if not 2 <= len(texts) <= bounds.MAX_CHOICES:
        raise Unfit(f"has {len(texts)} texts; send 2 to {bounds.MAX_CHOICES}")
    if len(set(texts)) < len(texts):
        raise Unfit("has a text twice; send each once")
    if not all(texts):
        raise Unfit("has an empty text; leave it out")
    size = sum(len(text.encode()) for text in texts)
    if size > bounds.MAX_CHOICE_BYTES:
        raise Unfit(f"has {size} bytes of UTF-8 and may have {bounds.MAX_CHOICE_BYTES}; send less")


def _fits(field: str, check: Callable[[], Any]) -> None:
    try:
        check()
    except Unfit as error:
        raise InvalidArgument.of_field(field, str(error)) from None
