"""The time budget of the work at hand.

A deadline is set once at the edge of a process, as a context variable, and shrinks by itself: every
call out takes what is left of it.
"""

import asyncio
import time
from collections.abc import Awaitable
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from meshkit.errors import DeadlineExceeded

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in time, in seconds of the monotonic clock."""

    at_s: float

    @classmethod
    def after(cls, seconds: float) -> Self:
        """The deadline that many seconds from now."""
        return cls(time.monotonic() + seconds)

    @property
    def remaining_s(self) -> float:
        """Seconds left; negative once it has passed."""
        return self.at_s - time.monotonic()

    @property
    def expired(self) -> bool:
        """Whether no time is left."""
        return self.remaining_s <= 0

    def check(self) -> None:
        """Refuses to go on when no time is left.

        Raises:
            DeadlineExceeded: the deadline has passed.
        """
        if self.expired:
            raise passed()


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def current() -> Deadline | None:
    """The deadline of the work at hand; None outside a request."""
    return _current.get()


def passed() -> DeadlineExceeded:
    """The error of a deadline that has passed."""
    return DeadlineExceeded("the deadline passed before the answer was ready; allow more time")


class scope:  # noqa: N801  # used as a function; a generator would take four times as long
    """Makes `deadline` the current one inside, or the outer one where that comes earlier."""

    __slots__ = ("_deadline", "_token")

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def __enter__(self) -> Deadline:
        outer = _current.get()
        if outer is not None and outer.at_s <= self._deadline.at_s:
            self._deadline = outer
        self._token = _current.set(self._deadline)
        return self._deadline

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)


class enforced:  # noqa: N801  # used as a function, as `scope` is
    """Cancels what is inside when the current deadline passes, if there is one.

    Raises:
        DeadlineExceeded: it passed first.
    """

    __slots__ = ("_timeout", "_token")

    async def __aenter__(self) -> Self:
        deadline = _current.get()
        self._timeout = asyncio.timeout(deadline.remaining_s if deadline else None)
        await self._timeout.__aenter__()
        self._token = _enforced.set((deadline, asyncio.current_task()))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        _enforced.reset(self._token)
        try:
            await self._timeout.__aexit__(kind, error, where)
        except TimeoutError as timeout:
            raise passed() from timeout

    def release(self) -> None:
        """Lets what is inside go on, from now on; it keeps to the deadline by itself."""
        self._timeout.reschedule(None)
        _enforced.set((None, None))


# Which deadline cancels which task already. A task that it began knows of it and is not cancelled.
_enforced: ContextVar[tuple[Deadline | None, asyncio.Task[Any] | None]] = ContextVar(
    "enforced", default=(None, None)
)


async def enforce(work: Awaitable[T]) -> T:
    """Awaits `work` until the current deadline, then cancels it.

    Raises:
        DeadlineExceeded: the current deadline passed first.
    """
    deadline, task = _enforced.get()
    if deadline is _current.get() and task is asyncio.current_task():
        return await work
    async with enforced():
        return await work
