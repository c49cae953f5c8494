"""How the requests that a process has in flight are shared among its callers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final
from weakref import WeakSet

from meshkit import names, telemetry
from meshkit.errors import Overloaded

_RETRY_S: Final = 1.0
_known: WeakSet[InFlight] = WeakSet()
telemetry.observed(
    names.IN_FLIGHT,
    "{request}",
    "Requests that have a place and are not answered yet.",
    lambda: [(each.total, {}) for each in tuple(_known)],
)


class InFlight:
    """The places for requests in flight.

    While less than half of them are taken anybody may have more. From then on no caller gets more
    than its even part, so that one that floods the process leaves room for the others.

    Args:
        most: places.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_caller: Counter[str] = Counter()
        self._total = 0
        _known.add(self)

    @property
    def total(self) -> int:
        """Requests in flight."""
        return self._total

    def enter(self) -> Inside:
        """Takes a place inside, for a request whose caller is not known yet.

        Raises (on entering):
            Overloaded: there is none.
        """
        return Inside(self.take, self.give_back)

    def take(self) -> None:
        """Takes a place, for a request whose caller is not known yet.

        Raises:
            Overloaded: there is none.
        """
        if self._total >= self._most:
            raise Overloaded(
                f"{self._most} requests are in flight; try again in a moment",
                retry_delay_s=_RETRY_S,
            )
        self._total += 1

    def give_back(self) -> None:
        """Gives a place back."""
        self._total -= 1

    def hold(self, caller: str) -> Inside:
        """Counts the place that was taken as the caller's, inside.

        Raises (on entering):
            Overloaded: the caller has its part already.
        """
        return Inside(lambda: self.claim(caller), lambda: self.release(caller))

    def claim(self, caller: str) -> None:
        """Counts the place that was taken as the caller's.

        Raises:
            Overloaded: the caller has its part already.
        """
        own = self._by_caller[caller]
        if 2 * self._total > self._most:
            callers = len(self._by_caller) + (own == 0)
            if own >= max(1, self._most // callers):
                raise Overloaded(
                    f"{own} of your requests are in flight, your part of {self._most} for "
                    f"{callers} callers; send fewer at once, or try again in a moment",
                    retry_delay_s=_RETRY_S,
                )
        self._by_caller[caller] = own + 1

    def release(self, caller: str) -> None:
        """Counts it no more."""
        self._by_caller[caller] -= 1
        if not self._by_caller[caller]:
            del self._by_caller[caller]


class Inside:
    """Something that is had for as long as a block; a generator would take four times as long.

    Args:
        take: takes it, or raises.
        give_back: gives it back.
    """

    __slots__ = ("_give_back", "_take")

    def __init__(self, take: Callable[[], None], give_back: Callable[[], None]) -> None:
        self._take = take
        self._give_back = give_back

    def __enter__(self) -> None:
        self._take()

    def __exit__(self, *_: object) -> None:
        self._give_back()
