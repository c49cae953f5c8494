"""What OpenAI's API answers."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class PromptTokensDetails(msgspec.Struct, frozen=True):
    """What the tokens of the prompt were."""

    cached_tokens: Annotated[
        int, Meta(description="Those whose computation was at hand from earlier requests.")
    ] = 0
    audio_tokens: int = 0


class CompletionUsage(msgspec.Struct, frozen=True):
    """Tokens of a request, over all its choices."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class Candidate(msgspec.Struct, frozen=True):
    """A token that might have stood there."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(msgspec.Struct, frozen=True):
    """A token of the answer."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[Candidate]


class ChoiceLogprobs(msgspec.Struct, frozen=True):
    """The tokens of the content."""

    content: list[TokenLogprob] | None
    refusal: None = None


class CalledFunction(msgspec.Struct, frozen=True):
    """What a call calls."""

    name: str
    arguments: Annotated[str, Meta(description="A JSON object, as text.")]


class ToolCall(msgspec.Struct, frozen=True):
    """A call that the model makes."""

    id: str
    function: CalledFunction
    type: Literal["function"] = "function"


class AssistantAnswer(msgspec.Struct, frozen=True):
    """What the model says."""

    content: str | None
    role: Literal["assistant"] = "assistant"
    refusal: None = None
    annotations: list[None] = []
    reasoning_content: Annotated[
        str | UnsetType, Meta(description="What the model thought, where it shows that.")
    ] = UNSET
    tool_calls: list[ToolCall] | UnsetType = UNSET


class ChatChoice(msgspec.Struct, frozen=True):
    """One of the answers."""

    index: int
    message: AssistantAnswer
    logprobs: ChoiceLogprobs | None
    finish_reason: FinishReason


class ChatCompletion(msgspec.Struct, frozen=True):
    """The continuation of a conversation."""

    id: str
    created: Annotated[int, Meta(description="When it began, in seconds since 1970.")]
    model: Annotated[str, Meta(description="As the request named it; `x-mesh-model` answered.")]
    choices: list[ChatChoice]
    usage: CompletionUsage
    system_fingerprint: Annotated[str, Meta(description="Version of the model that answered.")]
    object: Literal["chat.completion"] = "chat.completion"


class CompletionLogprobs(msgspec.Struct, frozen=True):
    """The tokens of the text."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


class CompletionChoice(msgspec.Struct, frozen=True):
    """One of the continuations."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: FinishReason


class Completion(msgspec.Struct, frozen=True):
    """The continuations of texts."""

    id: str
    created: Annotated[int, Meta(description="When it began, in seconds since 1970.")]
    model: Annotated[str, Meta(description="As the request named it; `x-mesh-model` answered.")]
    choices: list[CompletionChoice]
    usage: CompletionUsage
    system_fingerprint: Annotated[str, Meta(description="Version of the model that answered.")]
    object: Literal["text_completion"] = "text_completion"


class Model(msgspec.Struct, frozen=True):
    """A model that requests may name."""

    id: str
    created: Annotated[int, Meta(description="Since when it serves, in seconds since 1970.")]
    owned_by: str
    object: Literal["model"] = "model"


class ModelList(msgspec.Struct, frozen=True):
    """Every model that requests may name."""

    data: list[Model]
    object: Literal["list"] = "list"


class Embedding(msgspec.Struct, frozen=True):
    """The vector of one input."""

    index: int
    embedding: Annotated[
        list[float] | str, Meta(description="Numbers, or base64 of little-endian float32.")
    ]
    object: Literal["embedding"] = "embedding"


class EmbeddingUsage(msgspec.Struct, frozen=True):
    """Tokens of all inputs."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(msgspec.Struct, frozen=True):
    """The vectors of all inputs, in their order."""

    data: list[Embedding]
    model: str
    usage: EmbeddingUsage
    object: Literal["list"] = "list"


class ErrorFacts(msgspec.Struct, frozen=True):
    """What went wrong."""

    message: Annotated[str, Meta(description="What is wrong, and the remedy.")]
    type: Annotated[str, Meta(description="Kind of error, such as `invalid_request_error`.")]
    param: Annotated[str | None, Meta(description="The parameter at fault.")]
    code: Annotated[str | None, Meta(description="Stable code, for programs.")]


class OpenAIError(msgspec.Struct, frozen=True):
    """An error, as OpenAI's API has it."""

    error: ErrorFacts
