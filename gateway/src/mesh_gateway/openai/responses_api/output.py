"""What a response becomes while the llm speaks."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from mesh.llm.v1 import llm_pb2
from mesh_gateway.openai.answers import FINISH_REASONS, logprobs_of
from mesh_gateway.openai.responses import FinishReason
from mesh_gateway.openai.responses_api.items import (
    GrowingCall,
    GrowingItem,
    GrowingMessage,
    GrowingReasoning,
    Tell,
)
from mesh_gateway.openai.responses_api.responses import ItemStatus, OutputItem
from meshkit.errors import Internal

T = TypeVar("T", bound=GrowingItem)


class Output:
    """The items of a response. One is whole when another begins.

    Args:
        tell: is told each event.

    Attributes:
        items: those that are whole.
        finish_reason: why the answer has ended; None while it goes on.
    """

    def __init__(self, tell: Tell) -> None:
        self.items: list[OutputItem] = []
        self.finish_reason: FinishReason | None = None
        self._tell = tell
        self._growing: GrowingItem | None = None

    def grow(self, delta: llm_pb2.ChatDelta) -> None:
        """Takes what the answer has grown by.

        Raises:
            Internal: it goes on with a call after it had begun another one.
        """
        if delta.reasoning:
            self._at(GrowingReasoning).grow(delta.reasoning)
        if delta.content or delta.logprobs:
            self._at(GrowingMessage).grow(delta.content, logprobs_of(delta.logprobs))
        for piece in delta.tool_calls:
            self._at_call(piece).grow(piece.arguments)
        if delta.finish_reason:
            self.finish_reason = FINISH_REASONS.get(delta.finish_reason, "stop")

    def end(self) -> None:
        """Takes that there is no more. What was cut short was so within its last item."""
        cut = self.finish_reason in ("length", "content_filter")
        self._finish("incomplete" if cut else "completed")

    def _at(self, kind: type[T]) -> T:
        growing = self._growing
        return growing if isinstance(growing, kind) else self._begin(kind)

    def _at_call(self, piece: llm_pb2.ToolCallDelta) -> GrowingCall:
        growing = self._growing
        if isinstance(growing, GrowingCall) and growing.number == piece.index:
            return growing
        if not piece.id:
            raise Internal("the model's service has gone on with an earlier call; ask again")
        return self._begin(partial(GrowingCall, piece))

    def _begin(self, make: Callable[[int, Tell], T]) -> T:
        self._finish("completed")
        item = make(len(self.items), self._tell)
        self._growing = item
        item.begin()
        return item

    def _finish(self, status: ItemStatus) -> None:
        if self._growing is not None:
            self.items.append(self._growing.finish(status))
            self._growing = None
