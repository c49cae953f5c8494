"""Parts what a model thought from what it answers, piece by piece.

    <think>
    The capital of France is asked.
    </think>

    Paris.

Models of the families of DeepSeek-R1 and Qwen3 write so. Some chat templates open the thought
themselves, and then the model only closes it.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from mesh_llm.text_tags import overlap

OPEN: Final = "<think>"
CLOSE: Final = "</think>"


@dataclass(frozen=True, slots=True)
class Parted:
    """What a piece of text turned out to be.

    Attributes:
        reasoning: what is thought, without white space at either end of the whole.
        content: what is answered; white space between thought and answer is left out.
    """

    reasoning: str = ""
    content: str = ""


class _State(Enum):
    START = auto()  # a thought may begin
    THOUGHT = auto()
    GAP = auto()  # between the thought and the answer
    CONTENT = auto()


class ThinkParser:
    """Parts one choice. How the text is cut into pieces makes no difference to the whole.

    Only what the answer begins with is a thought; tags later on are content.

    Args:
        opened: whether the prompt has opened the thought.
    """

    def __init__(self, *, opened: bool) -> None:
        self._state = _State.START
        self._opened = opened
        self._begun = False
        self._buffer = ""

    def feed(self, text: str) -> Parted:
        """Takes the next piece of text; says what is known of it by now."""
        self._buffer += text
        reasoning = ""
        if self._state is _State.START:
            self._start()
        if self._state is _State.THOUGHT:
            reasoning = self._think()
        if self._state is _State.GAP:
            self._buffer = self._buffer.lstrip()
            if self._buffer:
                self._state = _State.CONTENT
        return Parted(reasoning, self._take() if self._state is _State.CONTENT else "")

    def take(self, text: str, *, ended: bool) -> Parted:
        """Takes the next piece of text, which may be the last; says what is known of it by now."""
        parted = self.feed(text)
        if not ended:
            return parted
        rest = self.finish()
        return Parted(parted.reasoning + rest.reasoning, parted.content + rest.content)

    def finish(self) -> Parted:
        """Says what is left when no more text comes."""
        match self._state:
            case _State.THOUGHT:
                return Parted(reasoning=self._take().rstrip())
            case _State.START if self._opened:
                return Parted(reasoning=self._take().strip())
            case _State.GAP:
                return Parted()
            case _:
                return Parted(content=self._take())

    def _start(self) -> None:
        said = self._buffer.lstrip()
        if said.startswith(OPEN):
            self._buffer, self._state = said.removeprefix(OPEN), _State.THOUGHT
        elif not OPEN.startswith(said):
            self._state = _State.THOUGHT if self._opened else _State.CONTENT

    def _think(self) -> str:
        """The part of the thought that is certain: what may close it waits, and space before."""
        if not self._begun:
            self._buffer = self._buffer.lstrip()
        before, tag, after = self._buffer.partition(CLOSE)
        if tag:
            self._buffer, self._state = after, _State.GAP
            return before.rstrip()
        certain = len(before[: len(before) - overlap(before, CLOSE)].rstrip())
        self._buffer = before[certain:]
        self._begun = self._begun or certain > 0
        return before[:certain]

    def _take(self) -> str:
        text, self._buffer = self._buffer, ""
        return text
