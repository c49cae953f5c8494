"""What vLLM puts out, in our terms."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from mesh_llm.answers import (
    Delta,
    FinishReason,
    Progress,
    TokenLogprob,
    TokenLogprobs,
    Usage,
)
from mesh_llm.reasoning import Parted, ThinkParser
from mesh_llm.tool_parser import Parsed, ToolParser
from meshkit.errors import Internal, InvalidArgument, Unavailable

_REASONS: Final = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "repetition": FinishReason.STOP,
}


def _byte_of_characters() -> dict[str, int]:
    """Which byte each character of a byte-level vocabulary stands for (GPT-2's encoder.py)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {
        chr(256 + place): byte for place, byte in enumerate(others)
    }


_BYTES: Final = _byte_of_characters()


class OutputReader:
    """Reads the outputs of one request.

    Args:
        tools: names of the tools that are offered; none where calls are not looked for.
        token_of: the vocabulary's own form of a token, by its id.
        top: how many of the likeliest tokens to tell in each place.
        constrained: whether the form of the output is.
        thinks: whether thoughts are looked for.
        thought_opened: whether the prompt has opened one.
    """

    def __init__(
        self,
        tools: Sequence[str],
        token_of: Callable[[int], str],
        top: int,
        *,
        constrained: bool,
        thinks: bool = False,
        thought_opened: bool = False,
    ) -> None:
        self._tools = tools
        self._constrained = constrained
        self._most_top = top
        self._token_of = token_of
        self._parsers: dict[int, ToolParser] = {}
        self._thinks = thinks
        self._thought_opened = thought_opened
        self._thoughts: dict[int, ThinkParser] = {}
        self._usage = Usage()

    def read(self, output: Any) -> Iterator[Progress]:
        """The steps that an output is: one for each choice that it has something of.

        Raises:
            InvalidArgument: the engine can't make an automaton of its form.
            Unavailable: the engine ended the request.
            Internal: the engine failed on it.
        """
        new_tokens = sum(len(choice.token_ids) for choice in output.outputs)
        prompt = output.prompt_token_ids
        self._usage = Usage(
            prompt_tokens=self._usage.prompt_tokens if prompt is None else len(prompt),
            completion_tokens=self._usage.completion_tokens + new_tokens,
            cached_prompt_tokens=output.num_cached_tokens or 0,
        )
        deltas = [self._delta(choice) for choice in output.outputs]
        telling = [delta for delta in deltas if delta.says_something]
        queued_s = _queued_s(output.metrics)
        for delta in telling:
            yield Progress(self._usage, delta, queued_s)
        if new_tokens and not telling:
            # Tokens without a text yet: half a character, or what may begin a call or a stop.
            yield Progress(self._usage, queued_s=queued_s)

    def _delta(self, choice: Any) -> Delta:
        reason = self._reason(choice.finish_reason)
        parted = Parted(content=choice.text)
        if self._thinks:
            parted = self._part(choice.index, choice.text, ended=reason is not None)
        parsed, called = Parsed(parted.content), False
        if self._tools:
            parsed, called = self._parse(choice.index, parted.content, ended=reason is not None)
        if called and reason is FinishReason.STOP:
            reason = FinishReason.TOOL_CALLS
        return Delta(
            choice=choice.index,
            content=parsed.content,
            reasoning=parted.reasoning,
            tool_calls=parsed.calls,
            logprobs=self._logprobs(choice),
            finish_reason=reason,
        )

    def _reason(self, reason: str | None) -> FinishReason | None:
        if reason is None:
            return None
        if reason == "abort":
            raise Unavailable("the engine ended this request; try again", reason="ENGINE_ABORTED")
        if reason in _REASONS:
            return _REASONS[reason]
        if self._constrained and not self._usage.completion_tokens:
            raise InvalidArgument(
                "the engine can't make an automaton of structured_output, or of the parameters of "
                "tools: it is too large, or has what the engine does not know; send a simpler one"
            )
        raise Internal("the engine failed on this request", reason="MODEL_FAILED")

    def _part(self, choice: int, text: str, *, ended: bool) -> Parted:
        """What of a piece of a choice is thought, and what is answered."""
        if choice not in self._thoughts:
            self._thoughts[choice] = ThinkParser(opened=self._thought_opened)
        return self._thoughts[choice].take(text, ended=ended)

    def _parse(self, choice: int, text: str, *, ended: bool) -> tuple[Parsed, bool]:
        """What a piece of a choice is, and where it is the last, whether the choice called."""
        parser = self._parsers.setdefault(choice, ToolParser(self._tools))
        parsed = parser.feed(text)
        if not ended:
            return parsed, False
        rest = parser.finish()
        whole = Parsed(parsed.content + rest.content, parsed.calls + rest.calls)
        return whole, parser.calls > 0

    def _logprobs(self, choice: Any) -> tuple[TokenLogprobs, ...]:
        if not choice.logprobs:
            return ()
        pairs = zip(choice.token_ids, choice.logprobs, strict=False)
        return tuple(self._of_token(token, candidates) for token, candidates in pairs)

    def _of_token(self, token: int, candidates: Mapping[int, Any]) -> TokenLogprobs:
        # Beside the likeliest ones stands the token that was chosen, which may be none of them.
        ranked = sorted(candidates.items(), key=lambda pair: pair[1].rank or 0)
        top = [self._logprob(each, logprob) for each, logprob in ranked[: self._most_top]]
        return TokenLogprobs(self._logprob(token, candidates[token]), tuple(top))

    def _logprob(self, token: int, logprob: Any) -> TokenLogprob:
        text = logprob.decoded_token or ""
        return TokenLogprob(text, raw_bytes(self._token_of(token), text), logprob.logprob, token)


def _queued_s(metrics: Any) -> float | None:
    """How long a request waited, by the engine's own clock."""
    if metrics is None or not metrics.scheduled_ts:
        return None
    return max(0.0, float(metrics.scheduled_ts - metrics.queued_ts))


def raw_bytes(token: str, text: str) -> bytes:
    """The bytes of a token.

    Args:
        token: in the vocabulary's own form.
        text: as it was decoded, for vocabularies that are not of bytes.
    """
    if all(character in _BYTES for character in token):
        return bytes(_BYTES[character] for character in token)
    return text.encode()
