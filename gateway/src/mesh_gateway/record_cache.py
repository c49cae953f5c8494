"""Remembers the records of API keys, so that most requests cost no round trip to Redis."""

import asyncio
import enum
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Self

from meshkit import names, telemetry
from meshkit.errors import Unavailable
from meshkit.keys import KeyRecord

FRESH_S: Final = 30.0
"""A record is used this long without asking again: a revocation bites within it."""
STALE_S: Final = 600.0
"""A record is used this long while the store can't be reached."""
RETRY_EVERY_S: Final = 1.0
"""How often a store that can't be reached is asked again for a key that is remembered."""

_lookups = telemetry.counter(
    names.KEY_LOOKUPS, "{lookup}", "Look-ups of API keys beyond what is fresh, by outcome."
)


class Outcome(enum.StrEnum):
    """How the record of a key was found, or not, where none was fresh."""

    FETCHED = "fetched"  # the store was asked
    STALE = "stale"  # remembered for longer than is right, since the store can't be reached
    FAILED = "failed"  # the store can't be reached and the key is not remembered


@dataclass(frozen=True, slots=True)
class _Entry:
    record: KeyRecord | None
    fetched_s: float


class KeyCache:
    """Records by key id; the least recently used go first. Use it as an async context manager.

    That an id is unknown is remembered too, apart from the known ones: whoever tries many ids
    pushes no known key out.

    Args:
        fetch: asks the store; None where there is no such key, `Unavailable` where it can't be
            reached.
        capacity: most known ids, and most unknown ones, that are remembered.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        fetch: Callable[[str], Awaitable[KeyRecord | None]],
        *,
        capacity: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._capacity = capacity
        self._clock = clock
        self._known: OrderedDict[str, _Entry] = OrderedDict()
        self._unknown: OrderedDict[str, _Entry] = OrderedDict()
        self._flights: dict[str, asyncio.Task[KeyRecord | None]] = {}
        self._retry_at_s = float("-inf")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    async def get(self, key_id: str) -> KeyRecord | None:
        """The record of a key; None where there is none.

        Raises:
            Unavailable: the store can't be reached and the key is not remembered.
        """
        entry = self._recall(key_id)
        if entry and self._age_s(entry) < FRESH_S:
            return entry.record
        usable = entry is not None and entry.record is not None and self._age_s(entry) < STALE_S
        if entry and usable and self._clock() < self._retry_at_s:
            return _counted(entry.record, Outcome.STALE)
        try:
            return _counted(await self._ask(key_id), Outcome.FETCHED)
        except Unavailable:
            self._retry_at_s = self._clock() + RETRY_EVERY_S
            if entry and usable:
                return _counted(entry.record, Outcome.STALE)
            _counted(None, Outcome.FAILED)
            raise

    def _age_s(self, entry: _Entry) -> float:
        return self._clock() - entry.fetched_s

    def _recall(self, key_id: str) -> _Entry | None:
        for kept in (self._known, self._unknown):
            if entry := kept.get(key_id):
                kept.move_to_end(key_id)
                return entry
        return None

    async def _ask(self, key_id: str) -> KeyRecord | None:
        """Asks the store, once for all that want the same key now."""
        flight = self._flights.get(key_id)
        if flight is None:
            flight = asyncio.create_task(self._fetch_and_keep(key_id))
            self._flights[key_id] = flight
            flight.add_done_callback(lambda done: self._land(key_id, done))
        # The flight belongs to all that wait for it: one that leaves must not end it.
        return await asyncio.shield(flight)

    def _land(self, key_id: str, flight: asyncio.Task[KeyRecord | None]) -> None:
        del self._flights[key_id]
        if not flight.cancelled():
            flight.exception()  # all that waited may have left; then nobody else looks at it

    async def _fetch_and_keep(self, key_id: str) -> KeyRecord | None:
        record = await self._fetch(key_id)
        keep, forget = self._known, self._unknown
        if record is None:
            keep, forget = forget, keep
        forget.pop(key_id, None)
        keep[key_id] = _Entry(record, self._clock())
        keep.move_to_end(key_id)
        if len(keep) > self._capacity:
            keep.popitem(last=False)
        return record


def _counted(record: KeyRecord | None, outcome: Outcome) -> KeyRecord | None:
    _lookups.add(1, {names.LOOKUP_OUTCOME: outcome})
    return record
