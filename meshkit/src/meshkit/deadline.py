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

from meshkit.errors import DeadlineExceeded, MeshError

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

    What `asyncio.timeout` does, at half of its cost, and for other ends than that of time.

    Raises:
        DeadlineExceeded: it passed first.
        MeshError: the one that `end` was told first.
    """

    __slots__ = ("_cancelling", "_error", "_over", "_task", "_timer", "_token")

    _task: asyncio.Task[Any]

    def __enter__(self) -> Self:
        deadline, task = _current.get(), asyncio.current_task()
        assert task is not None  # noqa: S101  # nothing is awaited outside one
        self._task = task
        self._cancelling = task.cancelling()
        self._error: MeshError | None = None
        self._over = False
        self._timer: asyncio.TimerHandle | None = None
        if deadline is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, deadline.remaining_s), self._pass)
        self._token = _enforced.set((deadline, task))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        _enforced.reset(self._token)
        self._over = True
        self._stop_timer()
        ending, self._error = self._error, None
        if ending is None:
            return
        try:
            # Somebody else may have cancelled the task too, and then it is to end.
            if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
                raise ending from error
        finally:
            # The traceback holds this frame: what it raised would hold itself, and all the request.
            del ending, error

    def end(self, error: MeshError) -> None:
        """Cancels what is inside, so that it ends with `error`; only the first time counts."""
        if self._error is None and not self._over:
            self._error = error
            self._stop_timer()
            self._task.cancel()

    def release(self) -> None:
        """Lets what is inside go on, from now on; it keeps to the deadline by itself."""
        self._stop_timer()
        _enforced.set((None, None))

    def _pass(self) -> None:
        self.end(passed())

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


# Which deadline cancels which task already. A task that it began knows of it and is not cancelled.
_enforced: ContextVar[tuple[Deadline | None, asyncio.Task[Any] | None]] = ContextVar(
    "enforced", default=(None, None)
)


def is_enforced() -> bool:
    """Whether the current deadline already cancels the task at hand when it passes."""
    deadline, task = _enforced.get()
    return deadline is _current.get() and task is asyncio.current_task()


async def enforce(work: Awaitable[T]) -> T:
    """Awaits `work` until the current deadline, then cancels it.

    Raises:
        DeadlineExceeded: the current deadline passed first.
    """
    if is_enforced():
        return await work
    with enforced():
        return await work
