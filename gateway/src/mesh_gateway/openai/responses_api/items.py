"""The items of a response while they grow, with the events that tell of it."""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeAlias

from mesh.llm.v1 import llm_pb2
from mesh_gateway.openai.responses import TokenLogprob
from mesh_gateway.openai.responses_api.events import (
    ContentPartAdded,
    ContentPartDone,
    Event,
    FunctionCallArgumentsDelta,
    FunctionCallArgumentsDone,
    OutputItemAdded,
    OutputItemDone,
    OutputTextDelta,
    OutputTextDone,
    ReasoningTextDelta,
    ReasoningTextDone,
)
from mesh_gateway.openai.responses_api.responses import (
    ItemStatus,
    OutputCall,
    OutputItem,
    OutputMessage,
    OutputReasoning,
    OutputText,
    ReasoningText,
)

Tell: TypeAlias = Callable[[Event], None]
"""Is told each event."""


class GrowingItem(ABC):
    """An item.

    Args:
        place: among the items of the response, from 0.
        tell: is told each event.
    """

    prefix: str
    """Of the ids of such items."""

    def __init__(self, place: int, tell: Tell) -> None:
        self._id = f"{self.prefix}_{secrets.token_hex(12)}"
        self._place = place
        self._tell = tell
        self._pieces: list[str] = []

    def begin(self) -> None:
        """Tells that it has begun."""
        self._tell(OutputItemAdded(output_index=self._place, item=self._item("in_progress")))

    def finish(self, status: ItemStatus) -> OutputItem:
        """Tells that there is no more, and says what it has become."""
        self._tell_end()
        item = self._item(status)
        self._tell(OutputItemDone(output_index=self._place, item=item))
        return item

    @property
    def _text(self) -> str:
        return "".join(self._pieces)

    @abstractmethod
    def _item(self, status: ItemStatus) -> OutputItem:
        """What it has become so far."""

    @abstractmethod
    def _tell_end(self) -> None:
        """Tells of what it is made of."""


class _GrowingText(GrowingItem):
    """An item of one part, which is text."""

    def begin(self) -> None:
        super().begin()
        added = ContentPartAdded(output_index=self._place, item_id=self._id, part=self._part())
        self._tell(added)

    def _tell_end(self) -> None:
        self._tell_text()
        self._tell(ContentPartDone(output_index=self._place, item_id=self._id, part=self._part()))

    @abstractmethod
    def _part(self) -> OutputText | ReasoningText:
        """Its part so far."""

    @abstractmethod
    def _tell_text(self) -> None:
        """Tells of its whole text."""


class GrowingMessage(_GrowingText):
    """What the model says."""

    prefix = "msg"

    def __init__(self, place: int, tell: Tell) -> None:
        super().__init__(place, tell)
        self._logprobs: list[TokenLogprob] = []

    def grow(self, text: str, logprobs: list[TokenLogprob]) -> None:
        """Takes more of it."""
        self._pieces.append(text)
        self._logprobs += logprobs
        delta = OutputTextDelta(
            output_index=self._place, item_id=self._id, delta=text, logprobs=logprobs
        )
        self._tell(delta)

    def _item(self, status: ItemStatus) -> OutputMessage:
        content = [] if status == "in_progress" else [self._part()]
        return OutputMessage(id=self._id, status=status, content=content)

    def _part(self) -> OutputText:
        return OutputText(self._text, logprobs=self._logprobs.copy())

    def _tell_text(self) -> None:
        done = OutputTextDone(
            output_index=self._place, item_id=self._id, text=self._text, logprobs=self._logprobs
        )
        self._tell(done)


class GrowingReasoning(_GrowingText):
    """What the model thinks."""

    prefix = "rs"

    def grow(self, text: str) -> None:
        """Takes more of it."""
        self._pieces.append(text)
        self._tell(ReasoningTextDelta(output_index=self._place, item_id=self._id, delta=text))

    def _item(self, status: ItemStatus) -> OutputReasoning:
        content = [] if status == "in_progress" else [self._part()]
        return OutputReasoning(id=self._id, status=status, content=content)

    def _part(self) -> ReasoningText:
        return ReasoningText(self._text)

    def _tell_text(self) -> None:
        self._tell(ReasoningTextDone(output_index=self._place, item_id=self._id, text=self._text))


class GrowingCall(GrowingItem):
    """A call.

    Args:
        first: its first piece, which has its id and its name.
        place: among the items of the response, from 0.
        tell: is told each event.

    Attributes:
        number: among the calls of the answer, from 0.
    """

    prefix = "fc"

    def __init__(self, first: llm_pb2.ToolCallDelta, place: int, tell: Tell) -> None:
        super().__init__(place, tell)
        self.number = first.index
        self._call_id = first.id
        self._name = first.name

    def grow(self, arguments: str) -> None:
        """Takes more of its arguments."""
        if arguments:
            self._pieces.append(arguments)
            self._tell(
                FunctionCallArgumentsDelta(
                    output_index=self._place, item_id=self._id, delta=arguments
                )
            )

    def _item(self, status: ItemStatus) -> OutputCall:
        return OutputCall(
            id=self._id,
            call_id=self._call_id,
            name=self._name,
            arguments=self._text,
            status=status,
        )

    def _tell_end(self) -> None:
        done = FunctionCallArgumentsDone(
            output_index=self._place, item_id=self._id, name=self._name, arguments=self._text
        )
        self._tell(done)
