"""Remembers records of keys and tenants, so that most requests cost no round trip for them."""

import asyncio
import enum
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Generic, Self, TypeVar

from meshkit import names, telemetry
from meshkit.errors import Unavailable

T = TypeVar("T")

FRESH_S: Final = 30.0
"""A record is used this long without asking again: a revocation bites within it."""
STALE_S: Final = 600.0
"""A record is used this long while the store can't be reached."""
RETRY_EVERY_S: Final = 1.0
"""How often a store that can't be reached is asked again for what is remembered."""

_lookups = telemetry.counter(
    names.LOOKUPS, "{lookup}", "Look-ups of keys and tenants beyond what is fresh, by outcome."
)


class Outcome(enum.StrEnum):
    """How a record was found, or not, where none was fresh."""

    FETCHED = "fetched"  # the store was asked
    STALE = "stale"  # remembered for longer than is right, since the store can't be reached
    FAILED = "failed"  # the store can't be reached and it is not remembered


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """What is known of an id.

    Attributes:
        record: of it; None where there is none.
        fetched_s: when the store said so.
    """

    record: T | None
    fetched_s: float


class RecordCache(Generic[T]):
    """Records by id; the least recently used go first. Use it as an async context manager.

    That an id is unknown is remembered too, apart from the known ones: whoever tries many ids
    pushes no known record out.

    Args:
        kind: what the records are of, for the metric; from a closed set.
        fetch: asks the store; None where there is no such record, `Unavailable` where it can't be
            reached.
        capacity: most known ids, and most unknown ones, that are remembered.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        kind: str,
        fetch: Callable[[str], Awaitable[T | None]],
        *,
        capacity: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kind = kind
        self._fetch = fetch
        self._capacity = capacity
        self._clock = clock
        self._known: OrderedDict[str, Entry[T]] = OrderedDict()
        self._unknown: OrderedDict[str, Entry[T]] = OrderedDict()
        self._flights: dict[str, asyncio.Task[T | None]] = {}
        self._retry_at_s = float("-inf")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def fresh(self, record_id: str) -> Entry[T] | None:
        """What is known of an id without asking; None where the store must be asked."""
        entry = self._recall(record_id)
        return entry if entry and self._age_s(entry) < FRESH_S else None

    async def get(self, record_id: str) -> T | None:
        """The record of an id; None where there is none.

        Raises:
            Unavailable: the store can't be reached and the record is not remembered.
        """
        if fresh := self.fresh(record_id):
            return fresh.record
        entry = self._recall(record_id)
        usable = entry is not None and entry.record is not None and self._age_s(entry) < STALE_S
        if entry and usable and self._clock() < self._retry_at_s:
            return self._counted(entry.record, Outcome.STALE)
        try:
            return self._counted(await self._ask(record_id), Outcome.FETCHED)
        except Unavailable:
            self._retry_at_s = self._clock() + RETRY_EVERY_S
            if entry and usable:
                return self._counted(entry.record, Outcome.STALE)
            self._counted(None, Outcome.FAILED)
            raise

    def _age_s(self, entry: Entry[T]) -> float:
        return self._clock() - entry.fetched_s

    def _recall(self, record_id: str) -> Entry[T] | None:
        for kept in (self._known, self._unknown):
            if entry := kept.get(record_id):
                kept.move_to_end(record_id)
                return entry
        return None

    async def _ask(self, record_id: str) -> T | None:
        """Asks the store, once for all that want the same record now."""
        flight = self._flights.get(record_id)
        if flight is None:
            flight = asyncio.create_task(self._fetch_and_keep(record_id))
            self._flights[record_id] = flight
            flight.add_done_callback(lambda done: self._land(record_id, done))
        # The flight belongs to all that wait for it: one that leaves must not end it.
        return await asyncio.shield(flight)

    def _land(self, record_id: str, flight: asyncio.Task[T | None]) -> None:
        del self._flights[record_id]
        if not flight.cancelled():
            flight.exception()  # all that waited may have left; then nobody else looks at it

    async def _fetch_and_keep(self, record_id: str) -> T | None:
        record = await self._fetch(record_id)
        keep, forget = self._known, self._unknown
        if record is None:
            keep, forget = forget, keep
        forget.pop(record_id, None)
        keep[record_id] = Entry(record, self._clock())
        keep.move_to_end(record_id)
        if len(keep) > self._capacity:
            keep.popitem(last=False)
        return record

    def _counted(self, record: T | None, outcome: Outcome) -> T | None:
        _lookups.add(1, {names.LOOKUP_KIND: self._kind, names.LOOKUP_OUTCOME: outcome})
        return record
