"""The chunks of a streamed answer: what is new is encoded, in a frame that is made once."""

from collections.abc import Iterable
from typing import Final

import msgspec

from mesh.llm.v1 import llm_pb2
from mesh_gateway.openai.answers import (
    FINISH_REASONS,
    Usage,
    logprobs_of,
    older_logprobs,
)
from mesh_gateway.openai.responses import ChoiceLogprobs, TokenLogprob
from mesh_gateway.streaming import event

DONE: Final = b"[DONE]"
_BETWEEN: Final = b"\n\ndata: "
_encode: Final = msgspec.json.Encoder().encode
_ROLE: Final = b'{"role":"assistant","content":"","refusal":null}'
_NO_LOGPROBS: Final = b',"logprobs":null'


class _Frame:
    """What all chunks of an answer share."""

    def __init__(self, head: dict[str, object], *, with_usage: bool) -> None:
        self._head = _encode(head)[:-1] + b',"choices":['
        self.open = self._head + b'{"index":'
        self._tail = (b',"usage":null' if with_usage else b"") + b"}"
        self.goes_on = b',"finish_reason":null}]' + self._tail

    def end(self, reason: str) -> bytes:
        """The end of the last chunk of a choice."""
        return b',"finish_reason":"' + reason.encode() + b'"}]' + self._tail

    def usage(self, usage: Usage) -> bytes:
        """The chunk that says what was used."""
        return self._head + b'],"usage":' + _encode(usage.shown) + b"}"


class ChatChunks:
    """Makes the chunks of a chat.

    Args:
        head: what every chunk begins with.
        with_usage: whether every chunk has `usage`.
    """

    def __init__(self, head: dict[str, object], *, with_usage: bool) -> None:
        self._frame = _Frame(head, with_usage=with_usage)
        self._begun: set[int] = set()

    def of(self, delta: llm_pb2.ChatDelta) -> list[bytes]:
        """The chunks of what a choice has grown by."""
        choice = delta.choice
        chunks = self._beginning(choice)
        content, logprobs = delta.content, delta.logprobs
        if logprobs:
            chunks.append(self._content(choice, content, logprobs_of(logprobs)))
        elif content:
            chunks.append(self._more(choice, b'{"content":' + _encode(content) + b"}"))
        if delta.reasoning:
            chunks.append(self._reasoning(choice, delta.reasoning))
        for each in delta.tool_calls:
            chunks.append(self._call(choice, each.index, each.id, each.name, each.arguments))
        if delta.finish_reason:
            chunks.append(self._end(choice, FINISH_REASONS.get(delta.finish_reason, "stop")))
        return chunks

    def usage(self, usage: Usage) -> bytes:
        """The chunk that says what was used."""
        return self._frame.usage(usage)

    def _beginning(self, choice: int) -> list[bytes]:
        if choice in self._begun:
            return []
        self._begun.add(choice)
        return [self._more(choice, _ROLE)]

    def _more(self, choice: int, delta: bytes) -> bytes:
        frame = self._frame
        return b'%b%d,"delta":%b,"logprobs":null%b' % (frame.open, choice, delta, frame.goes_on)

    def _content(self, choice: int, content: str, logprobs: list[TokenLogprob]) -> bytes:
        frame = self._frame
        said = b'{"content":' + _encode(content) + b"}"
        shown = _encode(ChoiceLogprobs(logprobs) if logprobs else None)
        parts = (frame.open, choice, said, shown, frame.goes_on)
        return b'%b%d,"delta":%b,"logprobs":%b%b' % parts

    def _reasoning(self, choice: int, reasoning: str) -> bytes:
        return self._more(choice, b'{"reasoning_content":' + _encode(reasoning) + b"}")

    def _call(self, choice: int, index: int, call: str, name: str, arguments: str) -> bytes:
        said: dict[str, object] = {"index": index}
        function: dict[str, object] = {"arguments": arguments}
        if call or name:  # in its first piece alone
            said |= {"id": call, "type": "function"}
            function = {"name": name, **function}
        return self._more(choice, _encode({"tool_calls": [{**said, "function": function}]}))

    def _end(self, choice: int, reason: str) -> bytes:
        frame = self._frame
        return b'%b%d,"delta":{},"logprobs":null%b' % (frame.open, choice, frame.end(reason))


class CompletionChunks:
    """Makes the chunks of a completion; as `ChatChunks`."""

    def __init__(self, head: dict[str, object], *, with_usage: bool) -> None:
        self._frame = _Frame(head, with_usage=with_usage)
        self._offsets: dict[int, int] = {}

    def of(self, delta: llm_pb2.CompleteDelta, index: int) -> list[bytes]:
        """The chunks of what a choice has grown by.

        Args:
            delta: what it has grown by.
            index: of the choice, over all prompts.
        """
        chunks = []
        if delta.text or delta.logprobs:
            chunks.append(self._text(index, delta.text, logprobs_of(delta.logprobs)))
        if delta.finish_reason:
            chunks.append(self._end(index, FINISH_REASONS.get(delta.finish_reason, "stop")))
        return chunks

    def usage(self, usage: Usage) -> bytes:
        """The chunk that says what was used."""
        return self._frame.usage(usage)

    def _text(self, index: int, text: str, logprobs: list[TokenLogprob]) -> bytes:
        frame = self._frame
        offset = self._offsets.get(index, 0)
        self._offsets[index] = offset + len(text)
        shown = _encode(older_logprobs(logprobs, offset)) if logprobs else b"null"
        parts = (frame.open, index, _encode(text), shown, frame.goes_on)
        return b'%b%d,"text":%b,"logprobs":%b%b' % parts

    def _end(self, index: int, reason: str) -> bytes:
        frame = self._frame
        return b'%b%d,"text":"","logprobs":null%b' % (frame.open, index, frame.end(reason))


def joined(chunks: Iterable[bytes]) -> bytes:
    """Chunks that are sent together, each as an event of its own."""
    return event(_BETWEEN.join(chunks))
