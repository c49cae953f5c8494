"""What the llm has answered so far, put together from its deltas: whole choices, and their use."""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from mesh.llm.v1 import llm_pb2
from mesh_gateway.openai.responses import (
    AssistantAnswer,
    CalledFunction,
    Candidate,
    ChatChoice,
    ChoiceLogprobs,
    CompletionChoice,
    CompletionLogprobs,
    CompletionUsage,
    FinishReason,
    PromptTokensDetails,
    TokenLogprob,
    ToolCall,
)

FINISH_REASONS: Final[Mapping[int, FinishReason]] = {
    llm_pb2.FINISH_REASON_STOP: "stop",
    llm_pb2.FINISH_REASON_LENGTH: "length",
    llm_pb2.FINISH_REASON_TOOL_CALLS: "tool_calls",
    llm_pb2.FINISH_REASON_CONTENT_FILTER: "content_filter",
}


class Call(msgspec.Struct):
    """A tool call."""

    id: str = ""
    name: str = ""
    arguments: str = ""


class Choice(msgspec.Struct):
    """What one choice says; of a completion, `content` is its text."""

    index: int
    content: str = ""
    reasoning: str = ""
    calls: list[Call] = []
    logprobs: list[TokenLogprob] = []
    finish_reason: FinishReason | None = None


class Usage(msgspec.Struct, frozen=True):
    """Tokens of a request."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_prompt_tokens: int = 0

    def plus(self, other: "Usage") -> "Usage":
        """That of two requests together."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_prompt_tokens + other.cached_prompt_tokens,
        )

    @property
    def shown(self) -> CompletionUsage:
        """As callers see it."""
        return CompletionUsage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            total_tokens=self.prompt_tokens + self.completion_tokens,
            prompt_tokens_details=PromptTokensDetails(cached_tokens=self.cached_prompt_tokens),
        )


class Growing:
    """A choice while it grows."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, tuple[Call, list[str]]] = {}
        self._logprobs: list[TokenLogprob] = []
        self._finish_reason: FinishReason | None = None

    def add_chat(self, delta: llm_pb2.ChatDelta) -> None:
        """Takes what a chat has grown by."""
        self._content.append(delta.content)
        if delta.reasoning:
            self._reasoning.append(delta.reasoning)
        for each in delta.tool_calls:
            call, arguments = self._calls.setdefault(each.index, (Call(), []))
            call.id, call.name = call.id or each.id, call.name or each.name
            arguments.append(each.arguments)
        self._add_rest(delta)

    def add_completion(self, delta: llm_pb2.CompleteDelta) -> None:
        """Takes what a completion has grown by."""
        self._content.append(delta.text)
        self._add_rest(delta)

    def _add_rest(self, delta: llm_pb2.ChatDelta | llm_pb2.CompleteDelta) -> None:
        self._logprobs += logprobs_of(delta.logprobs)
        if delta.finish_reason:
            self._finish_reason = FINISH_REASONS.get(delta.finish_reason, "stop")

    @property
    def whole(self) -> Choice:
        """What it has become."""
        calls = [
            Call(call.id, call.name, "".join(arguments))
            for _, (call, arguments) in sorted(self._calls.items())
        ]
        return Choice(
            index=self._index,
            content="".join(self._content),
            reasoning="".join(self._reasoning),
            calls=calls,
            logprobs=self._logprobs,
            finish_reason=self._finish_reason,
        )


def deltas(responses: Iterable[llm_pb2.ChatResponse]) -> list[llm_pb2.ChatDelta]:
    """What the choices of a chat have grown by."""
    return [each.delta for each in responses if each.HasField("delta")]


def logprobs_of(logprobs: Iterable[llm_pb2.TokenLogprobs]) -> list[TokenLogprob]:
    """Tokens as callers of chat see them."""
    return [
        TokenLogprob(
            token=each.token.text,
            logprob=each.token.logprob,
            bytes=list(each.token.raw),
            top_logprobs=[
                Candidate(token=one.text, logprob=one.logprob, bytes=list(one.raw))
                for one in each.top
            ],
        )
        for each in logprobs
    ]


def older_logprobs(logprobs: Iterable[TokenLogprob], offset: int) -> CompletionLogprobs:
    """Tokens as callers of completions see them.

    Args:
        logprobs: of a text.
        offset: how many characters stand before the text.
    """
    tokens, offsets, values, tops = [], [], [], []
    for each in logprobs:
        tokens.append(each.token)
        offsets.append(offset)
        values.append(each.logprob)
        tops.append({one.token: one.logprob for one in each.top_logprobs})
        offset += len(each.token)
    return CompletionLogprobs(tokens, values, tops, offsets)


def chat_choice(choice: Choice, *, logprobs: bool) -> ChatChoice:
    """A choice of a chat, as callers see it.

    Args:
        choice: what it says.
        logprobs: whether they were asked for.
    """
    calls = [
        ToolCall(id=each.id, function=CalledFunction(each.name, each.arguments))
        for each in choice.calls
    ]
    message = AssistantAnswer(
        content=None if calls and not choice.content else choice.content,
        reasoning_content=choice.reasoning or msgspec.UNSET,
        tool_calls=calls or msgspec.UNSET,
    )
    shown = ChoiceLogprobs(choice.logprobs) if logprobs else None
    return ChatChoice(choice.index, message, shown, choice.finish_reason or "stop")


def completion_choice(choice: Choice, *, logprobs: bool) -> CompletionChoice:
    """A choice of a completion, as callers see it; as `chat_choice`."""
    shown = older_logprobs(choice.logprobs, 0) if logprobs else None
    return CompletionChoice(choice.index, choice.content, shown, choice.finish_reason or "stop")
