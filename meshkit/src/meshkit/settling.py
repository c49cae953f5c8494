"""Settles reservations off the path of requests; while Redis is away they wait."""

import asyncio
import logging
from collections import deque
from typing import Final, TypeAlias
from weakref import WeakSet

from meshkit import names, telemetry
from meshkit.errors import Unavailable
from meshkit.reservations import Reservations, Ticket, Used

RETRY_EVERY_S: Final = 1.0
FLUSH_S: Final = 3.0
"""Most seconds that the end of a process waits for the last ones."""
_MOST_AT_ONCE: Final = 200
_log = logging.getLogger(__name__)
_dropped = telemetry.counter(
    names.SETTLEMENTS_DROPPED, "{reservation}", "Reservations whose use could not be settled."
)
_known: "WeakSet[Settler]" = WeakSet()
telemetry.observed(
    names.SETTLEMENTS_WAITING,
    "{reservation}",
    "Reservations whose use waits to be settled.",
    lambda: [(each.waiting, {}) for each in tuple(_known)],
)

Named: TypeAlias = tuple[str, str]
"""The tenant and the id of a reservation that another process made."""


class Settler:
    """A bounded queue of what reservations have used.

    Args:
        reservations: settles them.
        capacity: most that wait; beyond, the oldest are dropped and counted, and come back whole
            when their leases end.
    """

    def __init__(self, reservations: Reservations, capacity: int) -> None:
        self._reservations = reservations
        self._capacity = capacity
        self._waiting: deque[tuple[Ticket | Named, Used]] = deque()
        self._news = asyncio.Event()
        self._away = False
        _known.add(self)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def add(self, reservation: Ticket | Named, used: Used) -> None:
        """Takes what a reservation has used."""
        if len(self._waiting) >= self._capacity:
            self._waiting.popleft()
            _dropped.add(1)
        self._waiting.append((reservation, used))
        self._news.set()

    async def run(self) -> None:
        """Settles until cancelled, and then what still waits."""
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                await self._settle_all()
        finally:
            await self._flush()

    async def _flush(self) -> None:
        try:
            async with asyncio.timeout(FLUSH_S):
                await self._settle_all()
        except TimeoutError:
            pass
        if self._waiting:
            _log.error("%d reservations were not settled; Redis is away", len(self._waiting))
            _dropped.add(len(self._waiting))

    async def _settle_all(self) -> None:
        """Settles until nothing waits, however long Redis is away."""
        while True:
            if await self._settle_some():
                return
            await asyncio.sleep(RETRY_EVERY_S)

    async def _settle_some(self) -> bool:
        """Settles until nothing waits; whether Redis was there for all of it."""
        while self._waiting:
            count = min(len(self._waiting), _MOST_AT_ONCE)
            batch = [self._waiting.popleft() for _ in range(count)]
            settled = False
            try:
                await self._reservations.settle(await self._found(batch))
                settled = True
            except Unavailable as error:
                self._note(away=True, error=error)
                return False
            finally:
                if not settled:
                    self._waiting.extendleft(reversed(batch))
        self._note(away=False, error=None)
        return True

    async def _found(self, batch: list[tuple[Ticket | Named, Used]]) -> list[tuple[Ticket, Used]]:
        """The batch with its tickets; one that is not known any more was settled long ago."""
        named = [each for each, _ in batch if not isinstance(each, Ticket)]
        found = iter(await self._reservations.find(named) if named else ())
        tickets = [each if isinstance(each, Ticket) else next(found) for each, _ in batch]
        return [(ticket, used) for ticket, (_, used) in zip(tickets, batch, strict=True) if ticket]

    def _note(self, *, away: bool, error: Unavailable | None) -> None:
        if away and not self._away:
            _log.warning("reservations are settled later: %s", error)
        self._away = away
