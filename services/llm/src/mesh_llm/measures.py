"""What is measured of each request, by the GenAI conventions."""

from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import Final, Self

from mesh_llm.answers import Progress, Usage
from meshkit import names, spans, telemetry
from meshkit.errors import Code, MeshError
from meshkit.names import TokenType

_duration: Final = telemetry.histogram(
    names.GEN_AI_REQUEST_DURATION,
    "s",
    "Time that a request took.",
    names.GEN_AI_REQUEST_BUCKETS_S,
)
_first_token: Final = telemetry.histogram(
    names.GEN_AI_FIRST_TOKEN,
    "s",
    "Time to the first token of a request, with its wait in the queue.",
    names.GEN_AI_FIRST_TOKEN_BUCKETS_S,
)
_per_token: Final = telemetry.histogram(
    names.GEN_AI_PER_TOKEN,
    "s",
    "Mean time between the tokens of a request, after the first.",
    names.GEN_AI_PER_TOKEN_BUCKETS_S,
)
_queued: Final = telemetry.histogram(
    names.ENGINE_QUEUE,
    "s",
    "Time that a request waited until the engine took it up.",
    names.GEN_AI_FIRST_TOKEN_BUCKETS_S,
)
_tokens: Final = telemetry.counter(names.TOKENS, "{token}", "Tokens that were read and generated.")


class Operation(StrEnum):
    """What a request asks for, in the words of the conventions."""

    CHAT = "chat"
    COMPLETE = "text_completion"


class Measured:
    """Measures one request, whatever becomes of it.

    Args:
        operation: what it asks for.
        model: which model, one of those that there are.
        clock: seconds that only grow.
    """

    def __init__(self, operation: Operation, model: str, clock: Callable[[], float]) -> None:
        self._attributes = {names.GEN_AI_OPERATION: operation.value, names.GEN_AI_MODEL: model}
        self._clock = clock
        self._usage = Usage()
        self._first_at_s: float | None = None
        self._first_tokens = 0
        self._taken_up = False
        self._last_at_s = 0.0

    def __enter__(self) -> Self:
        self._began_s = self._clock()
        return self

    def saw(self, step: Progress) -> None:
        """Takes a step of the answer."""
        self._usage = step.usage
        if step.queued_s is not None and not self._taken_up:
            self._taken_up = True
            _queued.record(step.queued_s, self._attributes)
        if not step.usage.completion_tokens:
            return
        self._last_at_s = self._clock()
        if self._first_at_s is None:
            self._first_at_s = self._last_at_s
            self._first_tokens = step.usage.completion_tokens
            _first_token.record(self._last_at_s - self._began_s, self._attributes)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        attributes = dict(self._attributes)
        if error is not None:
            attributes[names.ERROR_TYPE] = spans.CODE_NAMES[_code(error)]
        _duration.record(self._clock() - self._began_s, attributes)
        more = self._usage.completion_tokens - self._first_tokens
        if self._first_at_s is not None and more > 0:
            _per_token.record((self._last_at_s - self._first_at_s) / more, self._attributes)
        counts = {
            TokenType.INPUT: self._usage.prompt_tokens,
            TokenType.OUTPUT: self._usage.completion_tokens,
            TokenType.CACHED: self._usage.cached_prompt_tokens,
        }
        for token_type, count in counts.items():
            if count:
                kinds = {**self._attributes, names.GEN_AI_TOKEN_TYPE: token_type.value}
                _tokens.add(count, kinds)


def _code(error: BaseException) -> Code:
    if isinstance(error, MeshError):
        return error.code
    # A caller that leaves, or its deadline, ends the generator by no Exception.
    return Code.INTERNAL if isinstance(error, Exception) else Code.CANCELLED
