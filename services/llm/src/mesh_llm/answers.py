"""What a model answers, piece by piece."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class FinishReason(StrEnum):
    """Why a choice has ended."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token and how likely it was.

    Attributes:
        text: as text; a part of a character is U+FFFD.
        raw: its bytes.
        logprob: natural logarithm of its probability.
        id: of the token; None where the upstream does not say it.
    """

    text: str
    raw: bytes
    logprob: float
    id: int | None


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """A token of the answer, and the likeliest ones in its place, the likeliest first."""

    token: TokenLogprob
    top: Sequence[TokenLogprob]


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """What one tool call has grown by.

    Attributes:
        index: which call of the choice, from 0.
        id: in the first delta of the call, else empty.
        name: in the first delta of the call, whole; else empty.
        arguments: more of the arguments, as JSON text.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Delta:
    """What one choice has grown by.

    Attributes:
        choice: which one, from 0.
        content: more of the content.
        reasoning: more of what the model thought before it answered.
        tool_calls: more of its tool calls.
        logprobs: one for each token of this delta, where they were asked for.
        finish_reason: in the last delta of the choice.
    """

    choice: int
    content: str = ""
    reasoning: str = ""
    tool_calls: Sequence[ToolCallDelta] = ()
    logprobs: Sequence[TokenLogprobs] = ()
    finish_reason: FinishReason | None = None

    @property
    def says_something(self) -> bool:
        """Whether a caller would learn anything from it."""
        said = self.content or self.reasoning or self.tool_calls or self.logprobs
        return bool(said) or self.finish_reason is not None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a request so far, over all its choices.

    Attributes:
        prompt_tokens: of the input.
        completion_tokens: of the output.
        cached_prompt_tokens: those of the prompt that needed no computation.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_prompt_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of an answer.

    Attributes:
        usage: of the whole request so far.
        delta: what has been generated since the step before; None where that is nothing.
        queued_s: seconds that the request waited in the engine's queue; None where that is not
            known.
    """

    usage: Usage
    delta: Delta | None = None
    queued_s: float | None = None
