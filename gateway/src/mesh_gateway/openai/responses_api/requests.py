"""What callers of the Responses API may send."""

from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

from msgspec import UNSET, Meta, Raw, UnsetType

from mesh_gateway.openai.requests import (
    AnyFormat,
    Body,
    Count,
    Ignored,
    JsonObjectFormat,
    RefusalPart,
    Refused,
    Some,
    Text,
    only,
)

LOGPROBS: Final = "message.output_text.logprobs"
"""What `include` may ask for; the other value that it may have asks for nothing here."""


class InputText(Body, frozen=True, tag_field="type", tag="input_text"):
    """A part of what was said, or of what a function answered."""

    text: str
    prompt_cache_breakpoint: Any = UNSET


class PastText(Body, frozen=True, tag_field="type", tag="output_text"):
    """A part of what the model said. Clients send answers back with all that was in them."""

    text: str
    annotations: Any = UNSET
    logprobs: Any = UNSET
    parsed: Any = UNSET


class InputMessage(Body, frozen=True, tag_field="type", tag="message"):
    """What somebody said; `type` may be left out."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | Some[InputText | PastText | RefusalPart]
    id: Any = UNSET
    status: Any = UNSET
    phase: Any = UNSET


class PastFunctionCall(Body, frozen=True, tag_field="type", tag="function_call"):
    """A call that the model made."""

    call_id: str
    name: str
    arguments: str
    id: Any = UNSET
    status: Any = UNSET
    namespace: Any = UNSET
    caller: Any = UNSET
    parsed_arguments: Any = UNSET


class FunctionCallOutput(Body, frozen=True, tag_field="type", tag="function_call_output"):
    """What a function answered."""

    call_id: str
    output: str | Some[InputText]
    id: Any = UNSET
    status: Any = UNSET
    name: Any = UNSET
    namespace: Any = UNSET
    caller: Any = UNSET


class PastReasoning(Body, frozen=True, tag_field="type", tag="reasoning"):
    """What the model thought. It is passed over: a model thinks anew."""

    id: Any = UNSET
    summary: Any = UNSET
    content: Any = UNSET
    encrypted_content: Any = UNSET
    status: Any = UNSET


InputItem: TypeAlias = InputMessage | PastFunctionCall | FunctionCallOutput | PastReasoning
# The type of a message may be left out, which no union can say. They are decoded as objects, and
# then by their types.
_ITEM: Final = Meta(
    extra_json_schema={
        "anyOf": [{"$ref": f"#/components/schemas/{each.__name__}"} for each in get_args(InputItem)]
    }
)
Items: TypeAlias = Annotated[
    list[Annotated[dict[str, Any], _ITEM]], Meta(min_length=1, max_length=2048)
]


class FunctionTool(Body, frozen=True):
    """A function that the model may call."""

    type: Literal["function"]
    name: str
    description: str | None = None
    parameters: Raw | UnsetType = UNSET
    strict: bool | None = None


class ChosenFunction(Body, frozen=True):
    """The choice of one function."""

    type: Literal["function"]
    name: str


ToolChoice: TypeAlias = Literal["auto", "none", "required"] | ChosenFunction


class JsonSchemaText(Body, frozen=True, tag_field="type", tag="json_schema"):
    """JSON that fits a schema."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    schema: Raw | UnsetType = UNSET
    description: str | None = None
    strict: bool | None = None


class TextConfig(Body, frozen=True):
    """The form that the text of the answer has."""

    format: AnyFormat | JsonObjectFormat | JsonSchemaText = AnyFormat()
    verbosity: Literal["low", "medium", "high"] | None = None


class ResponseRequest(Body, frozen=True, kw_only=True):
    """A conversation to be continued."""

    model: Annotated[Text, Meta(description="One of `GET /v1/models`.", examples=["llm"])]
    input: str | Items
    instructions: str | None = None
    max_output_tokens: Count | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    text: TextConfig | None = None
    tools: Annotated[list[FunctionTool], Meta(max_length=128)] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    include: list[Literal["message.output_text.logprobs", "reasoning.encrypted_content"]] | None = (
        None
    )
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    stream: bool | None = None
    metadata: dict[str, str] | None = None
    store: Ignored = UNSET
    stream_options: Ignored = UNSET
    user: Ignored = UNSET
    safety_identifier: Ignored = UNSET
    prompt_cache_key: Ignored = UNSET
    prompt_cache_retention: Ignored = UNSET
    prompt_cache_options: Ignored = UNSET
    reasoning: Ignored = UNSET
    max_tool_calls: Ignored = UNSET
    service_tier: Ignored = UNSET
    previous_response_id: Annotated[Refused, only()] = UNSET
    conversation: Annotated[Refused, only()] = UNSET
    background: Annotated[Refused, only(False)] = UNSET
    truncation: Annotated[Refused, only("disabled")] = UNSET
    context_management: Annotated[Refused, only()] = UNSET
    prompt: Annotated[Refused, only()] = UNSET
    moderation: Annotated[Refused, only()] = UNSET
