"""The longest pause of a stream, at both doors."""

import asyncio
from collections.abc import Awaitable
from types import TracebackType
from typing import Self, TypeVar

from meshkit import deadline
from meshkit.deadline import Deadline
from meshkit.errors import DeadlineExceeded

T = TypeVar("T")


async def in_time(step: Awaitable[T], most_s: float, late: str, limit: Deadline | None = None) -> T:
    """Awaits one step of a stream.

    Args:
        step: to be awaited.
        most_s: seconds that it may take.
        late: what to say if it takes longer.
        limit: the deadline of the stream; None where somebody else keeps to it.

    Raises:
        DeadlineExceeded: it took longer, or the deadline of the stream passed.
    """
    bounded_s = min(most_s, limit.remaining_s) if limit else most_s
    timeout = asyncio.timeout(bounded_s)
    try:
        async with timeout:
            return await step
    except TimeoutError:
        if not timeout.expired():
            raise
        if bounded_s < most_s:
            raise deadline.passed() from None
        raise _idle(late, most_s) from None


class pausing:  # noqa: N801  # used as a function, as `deadline.enforced` is
    """Ends what is inside when it pauses for too long, or when the current deadline passes.

    What `in_time` does for one step, for all steps of a stream: no step costs more than a look at
    the clock.

    Args:
        most_s: seconds that a step may take.

    Raises:
        DeadlineExceeded: a step took longer, or the deadline passed.
    """

    __slots__ = ("_enforced", "_late", "_loop", "_most_s", "_since_s", "_timer")

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self._enforced = deadline.enforced()
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        self._enforced.__enter__()
        self.waits_for("nothing has happened")
        self._timer = self._loop.call_later(self._most_s, self._look)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        self._enforced.__exit__(kind, error, where)

    def waits_for(self, late: str) -> None:
        """Begins a step.

        Args:
            late: what to say if it takes too long.
        """
        self._late = late
        self._since_s = self._loop.time()

    def _look(self) -> None:
        left_s = self._since_s + self._most_s - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look)
        else:
            self._enforced.end(_idle(self._late, self._most_s))


def _idle(late: str, most_s: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"{late} for {most_s:g} s (MESH_GATEWAY_STREAM_IDLE_TIMEOUT_S); ask again",
        reason="STREAM_IDLE",
    )
