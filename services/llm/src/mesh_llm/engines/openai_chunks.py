"""What an upstream streams in OpenAI's protocol, in our terms."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from mesh_llm.answers import (
    Delta,
    FinishReason,
    Progress,
    TokenLogprob,
    TokenLogprobs,
    ToolCallDelta,
    Usage,
)
from mesh_llm.reasoning import ThinkParser

DONE: Final = "[DONE]"
_REASONS: Final = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}


class Garbage(Exception):
    """It is not what the protocol has."""


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Candidate(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None


class _Token(_Candidate):
    top_logprobs: list[_Candidate] | None = None


class _Logprobs(msgspec.Struct):
    """Both forms: of chat completions, and the older one of completions."""

    content: list[_Token] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None


class UpstreamError(msgspec.Struct):
    """The error object of the protocol."""

    message: str = ""
    type: str | None = None
    param: str | None = None
    code: Any = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: UpstreamError | None = None


class ErrorFrame(Exception):
    """The upstream says within the stream that it can't go on."""

    def __init__(self, error: UpstreamError) -> None:
        super().__init__(error.message)
        self.error = error


_decoder: Final = msgspec.json.Decoder(_Chunk)


class ChunkReader:
    """Reads the chunks of one answer.

    Until the upstream tells its usage, which most do at the end, a chunk counts as one token.

    Args:
        choices: how many were asked for.
        thinks: whether thoughts stand in the content, between tags.
    """

    def __init__(self, choices: int, *, thinks: bool = False) -> None:
        self._choices = choices
        self._thoughts = (
            {number: ThinkParser(opened=False) for number in range(choices)} if thinks else {}
        )
        self._unfinished = set(range(choices))
        self._usage = Usage()
        self._told = False

    @property
    def complete(self) -> bool:
        """Whether every choice has ended."""
        return not self._unfinished

    def read(self, data: str) -> Iterator[Progress]:
        """The steps that a chunk is.

        Raises:
            Garbage: it is no chunk.
            ErrorFrame: it is an error.
        """
        try:
            chunk = _decoder.decode(data)
        except msgspec.DecodeError as error:
            raise Garbage(f"a chunk can't be read ({error})") from error
        if chunk.error is not None:
            raise ErrorFrame(chunk.error)
        deltas = [self._delta(choice) for choice in chunk.choices]
        self._count(chunk.usage, deltas)
        for delta in deltas:
            if delta.says_something:
                yield Progress(self._usage, delta)
        if chunk.usage is not None and not deltas:
            yield Progress(self._usage)

    def _count(self, usage: _Usage | None, deltas: Sequence[Delta]) -> None:
        if usage is not None:
            details = usage.prompt_tokens_details
            cached = (details and details.cached_tokens) or 0
            self._usage = Usage(usage.prompt_tokens, usage.completion_tokens, cached)
            self._told = True
        elif not self._told:
            more = sum(
                len(delta.logprobs)
                or int(bool(delta.content or delta.reasoning or delta.tool_calls))
                for delta in deltas
            )
            self._usage = Usage(0, self._usage.completion_tokens + more)

    def _delta(self, choice: _Choice) -> Delta:
        if not 0 <= choice.index < self._choices:
            raise Garbage(f"a chunk is of choice {choice.index}, of {self._choices}")
        said = choice.delta or _Delta()
        reason = None
        if choice.finish_reason:
            reason = _REASONS.get(choice.finish_reason, FinishReason.STOP)
            self._unfinished.discard(choice.index)
        content = said.content or choice.text or ""
        reasoning = said.reasoning_content or said.reasoning or ""
        if (parser := self._thoughts.get(choice.index)) is not None:
            parted = parser.take(content, ended=reason is not None)
            content, reasoning = parted.content, reasoning + parted.reasoning
        return Delta(
            choice=choice.index,
            content=content,
            reasoning=reasoning,
            tool_calls=tuple(_tool_call(call) for call in said.tool_calls or ()),
            logprobs=tuple(_logprobs(choice.logprobs)) if choice.logprobs else (),
            finish_reason=reason,
        )


def _tool_call(call: _ToolCall) -> ToolCallDelta:
    function = call.function or _Function()
    return ToolCallDelta(call.index, call.id or "", function.name or "", function.arguments or "")


def _logprobs(logprobs: _Logprobs) -> Iterator[TokenLogprobs]:
    for token in logprobs.content or ():
        top = tuple(_candidate(each) for each in token.top_logprobs or ())
        yield TokenLogprobs(_candidate(token), top)
    values = logprobs.token_logprobs or []
    tops = logprobs.top_logprobs or [None] * len(values)
    for text, value, older in zip(logprobs.tokens or [], values, tops, strict=False):
        ranked = sorted((older or {}).items(), key=lambda pair: -pair[1])
        yield TokenLogprobs(
            TokenLogprob(text, text.encode(), value or 0.0, None),
            tuple(TokenLogprob(name, name.encode(), logprob, None) for name, logprob in ranked),
        )


def _candidate(token: _Candidate) -> TokenLogprob:
    try:
        raw = token.token.encode() if token.bytes is None else bytes(token.bytes)
    except ValueError as error:
        raise Garbage(f"the bytes of a token are none ({error})") from error
    return TokenLogprob(token.token, raw, token.logprob, None)
