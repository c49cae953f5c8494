"""What callers of OpenAI's API may send.

Ranges that are OpenAI's own stand here, so that its codes are the answer; whatever else may be
wrong with a value, the model's service says.
"""

from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

T = TypeVar("T")
Text = Annotated[str, Meta(min_length=1)]
Some: TypeAlias = Annotated[list[T], Meta(min_length=1)]
"""One at least."""
_MOST_INT32: Final = 2**31 - 1
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Count = Annotated[int, Meta(ge=1, le=_MOST_INT32)]
Bias = Annotated[float, Meta(ge=-100, le=100)]
TokenId = Annotated[int, Meta(ge=0, le=2**32 - 1)]
# The document would say nothing of the keys.
_DECIMAL_KEYS: Final = Meta(extra_json_schema={"propertyNames": {"pattern": "^(0|[1-9][0-9]*)$"}})
# The type of the elements cannot say it, and `to_llm.inputs` does.
_ONE_KIND: Final = Meta(
    extra_json_schema={
        "anyOf": [{"items": {"type": kind}} for kind in ("string", "integer", "array")]
    }
)
Inputs: TypeAlias = str | Annotated[Some[str | TokenId | Some[TokenId]], _ONE_KIND]
"""A text, texts, token ids, or lists of those."""
Ignored: TypeAlias = Raw | UnsetType
"""What is neither looked at nor refused."""
Refused: TypeAlias = Raw | UnsetType
"""What there is not; `parameters.Refusals` lets the values pass that ask for nothing."""


def only(*passes: Any) -> Meta:
    """Says in the document which values of what there is not pass, beside null."""
    return Meta(extra_json_schema={"enum": [None, *passes]})


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is strict: an unknown field is refused."""


class StreamOptions(Body, frozen=True):
    """How a stream is to be."""

    include_usage: bool | None = None
    include_obfuscation: Ignored = UNSET


class StructuredOutputs(Body, frozen=True):
    """A form of the answer that OpenAI's API has no way to ask for; one of them."""

    json: Raw | UnsetType = UNSET
    regex: Text | None = None
    choice: list[str] | None = None
    grammar: Text | None = None


class Sampled(Body, frozen=True):
    """What both ways to generate share."""

    model: Annotated[Text, Meta(description="One of `GET /v1/models`.", examples=["llm"])]
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    stop: str | list[str] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: Annotated[dict[TokenId, Bias], _DECIMAL_KEYS] | None = None
    seed: Annotated[int, Meta(ge=-(2**63) + 1, le=2**63 - 1)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Ignored = UNSET
    top_k: Annotated[int, Meta(ge=0, le=_MOST_INT32)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=2)] | None = None
    min_tokens: Annotated[int, Meta(ge=0, le=_MOST_INT32)] | None = None
    ignore_eos: bool | None = None
    structured_outputs: StructuredOutputs | None = None


class TextPart(Body, frozen=True, tag_field="type", tag="text"):
    """A part of a message that is text."""

    text: str
    prompt_cache_breakpoint: Ignored = UNSET


class ImageUrl(Body, frozen=True):
    """Where a picture is."""

    url: str
    detail: Ignored = UNSET


class ImagePart(Body, frozen=True, tag_field="type", tag="image_url"):
    """A part of a message that is a picture."""

    image_url: ImageUrl
    prompt_cache_breakpoint: Ignored = UNSET


class RefusalPart(Body, frozen=True, tag_field="type", tag="refusal"):
    """A part of an assistant's message in which it refused."""

    refusal: str


class PastFunction(Body, frozen=True):
    """What a past call called."""

    name: str
    arguments: str


class PastCall(Body, frozen=True):
    """A call that the assistant made."""

    id: str
    type: Literal["function"]
    function: PastFunction
    index: Ignored = UNSET


class SystemMessage(Body, frozen=True, tag_field="role", tag="system"):
    """What the model is to keep to."""

    content: str | Some[TextPart]
    name: str | None = None


class DeveloperMessage(Body, frozen=True, tag_field="role", tag="developer"):
    """The same under its newer name."""

    content: str | Some[TextPart]
    name: str | None = None


class UserMessage(Body, frozen=True, tag_field="role", tag="user"):
    """What the user said."""

    content: str | Some[TextPart | ImagePart]
    name: str | None = None


class AssistantMessage(Body, frozen=True, tag_field="role", tag="assistant"):
    """What the model said. Clients send answers back as they came, with all that was in them."""

    content: str | Some[TextPart | RefusalPart] | None = None
    name: str | None = None
    tool_calls: list[PastCall] | None = None
    refusal: Ignored = UNSET
    annotations: Ignored = UNSET
    audio: Ignored = UNSET
    function_call: Ignored = UNSET
    reasoning_content: Ignored = UNSET
    parsed: Ignored = UNSET


class ToolMessage(Body, frozen=True, tag_field="role", tag="tool"):
    """What a tool answered."""

    content: str | Some[TextPart]
    tool_call_id: str
    name: str | None = None


Message: TypeAlias = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage


class Function(Body, frozen=True):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: Raw | UnsetType = UNSET
    strict: Ignored = UNSET


class Tool(Body, frozen=True):
    """A tool."""

    type: Literal["function"]
    function: Function


class FunctionName(Body, frozen=True):
    """A function, by its name."""

    name: str


class NamedTool(Body, frozen=True):
    """The choice of one tool."""

    type: Literal["function"]
    function: FunctionName


class AnyFormat(Body, frozen=True, tag_field="type", tag="text"):
    """Any text."""


class JsonObjectFormat(Body, frozen=True, tag_field="type", tag="json_object"):
    """Any JSON object."""


class JsonSchema(Body, frozen=True):
    """A JSON Schema, with what OpenAI's API has beside it."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    schema: Raw | UnsetType = UNSET
    description: Ignored = UNSET
    strict: Ignored = UNSET


class JsonSchemaFormat(Body, frozen=True, tag_field="type", tag="json_schema"):
    """JSON that fits a schema."""

    json_schema: JsonSchema


Format: TypeAlias = AnyFormat | JsonObjectFormat | JsonSchemaFormat


class ChatCompletionRequest(Sampled, frozen=True, kw_only=True):
    """A conversation to be continued."""

    messages: Annotated[list[Message], Meta(min_length=1, max_length=2048)]
    max_completion_tokens: Count | None = None
    max_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: Annotated[list[Tool], Meta(max_length=128)] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: Format | None = None
    metadata: Ignored = UNSET
    safety_identifier: Ignored = UNSET
    prompt_cache_key: Ignored = UNSET
    prompt_cache_retention: Ignored = UNSET
    prompt_cache_options: Ignored = UNSET
    reasoning_effort: Ignored = UNSET
    verbosity: Ignored = UNSET
    service_tier: Ignored = UNSET
    store: Annotated[Refused, only(False)] = UNSET
    modalities: Annotated[Refused, only(["text"])] = UNSET
    audio: Annotated[Refused, only()] = UNSET
    prediction: Annotated[Refused, only()] = UNSET
    moderation: Annotated[Refused, only()] = UNSET
    web_search_options: Annotated[Refused, only()] = UNSET
    functions: Annotated[Refused, only()] = UNSET
    function_call: Annotated[Refused, only()] = UNSET


class CompletionRequest(Sampled, frozen=True, kw_only=True):
    """A text to be continued."""

    prompt: Inputs
    max_tokens: Count | None = None
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None
    best_of: Annotated[Refused, only(1)] = UNSET
    echo: Annotated[Refused, only(False)] = UNSET
    suffix: Annotated[Refused, only("")] = UNSET


class EmbeddingRequest(Body, frozen=True):
    """Texts to be embedded."""

    model: Annotated[
        Text, Meta(description="One of `GET /v1/models`.", examples=["all-MiniLM-L6-v2"])
    ]
    input: Inputs
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Count | None = None
    user: Ignored = UNSET
