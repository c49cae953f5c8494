"""What the events of streams hold, for the document: `chunks` writes them piece by piece."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from mesh_gateway.openai.responses import (
    ChoiceLogprobs,
    CompletionLogprobs,
    CompletionUsage,
    FinishReason,
)

_Used = Annotated[
    CompletionUsage | UnsetType | None,
    Meta(description="With `stream_options.include_usage`; null but in the last chunk."),
]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing but what is said here."""


class CalledFunctionPiece(_Part, frozen=True):
    """More of what a call calls."""

    arguments: str
    name: Annotated[str | UnsetType, Meta(description="In its first piece.")] = UNSET


class ToolCallPiece(_Part, frozen=True):
    """More of a call that the model makes."""

    index: int
    function: CalledFunctionPiece
    id: Annotated[str | UnsetType, Meta(description="In its first piece.")] = UNSET
    type: Literal["function"] | UnsetType = UNSET


class AssistantDelta(_Part, frozen=True):
    """More of what the model says."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    refusal: UnsetType | None = UNSET
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[ToolCallPiece] | UnsetType = UNSET


class ChatChunkChoice(_Part, frozen=True):
    """What one of the answers has grown by."""

    index: int
    delta: AssistantDelta
    logprobs: ChoiceLogprobs | None
    finish_reason: FinishReason | None


class CompletionChunkChoice(_Part, frozen=True):
    """What one of the continuations has grown by."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: FinishReason | None


class _Chunk(_Part, frozen=True, kw_only=True):
    """What both have."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    usage: _Used = UNSET


class ChatCompletionChunk(_Chunk, frozen=True):
    """More of the continuation of a conversation."""

    object: Literal["chat.completion.chunk"]
    choices: list[ChatChunkChoice]


class CompletionChunk(_Chunk, frozen=True):
    """More of the continuations of texts."""

    object: Literal["text_completion"]
    choices: list[CompletionChunkChoice]
