"""Remembers which model answered which request, off the path of the requests."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from mesh.common.v1 import common_pb2
from meshkit import names, telemetry
from meshkit.errors import Unavailable
from meshkit.lineage import Lineage

_WRITE_EVERY_S: Final = 0.5
# Putting one into a command takes some us, for which the loop does nothing else.
_MOST_AT_ONCE: Final = 200
_dropped = telemetry.counter(
    names.LINEAGE_DROPPED, "{request}", "Requests whose lineage could not be kept in time."
)

Write = Callable[[Sequence[tuple[str, Lineage]]], Awaitable[None]]


class LineageLog:
    """Lineages wait in a bounded list and are written many at once.

    A store that is slow or gone delays no request: what no longer fits is dropped and counted.

    Args:
        write: keeps lineages by request id; raises `Unavailable` where it can't.
        capacity: most lineages that wait.
    """

    def __init__(self, write: Write, capacity: int) -> None:
        self._write = write
        self._capacity = capacity
        self._waiting: deque[tuple[str, common_pb2.Lineage]] = deque()
        self._news = asyncio.Event()

    def add(self, request_id: str, lineage: common_pb2.Lineage) -> None:
        """Takes the lineage of an answer, or drops it where too many wait."""
        if len(self._waiting) >= self._capacity:
            _dropped.add(1)
            return
        self._waiting.append((request_id, lineage))
        self._news.set()

    async def run(self) -> None:
        """Writes lineages until cancelled, and then those that still wait."""
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                await self._write_waiting()
                await asyncio.sleep(_WRITE_EVERY_S)
        finally:
            await self._write_waiting()
            _dropped.add(len(self._waiting))

    async def _write_waiting(self) -> None:
        while self._waiting:
            count = min(len(self._waiting), _MOST_AT_ONCE)
            batch = [self._waiting.popleft() for _ in range(count)]
            written = False
            try:
                await self._write(_read(batch))
                written = True
            except Unavailable:  # the watch of the key store says so
                self._news.set()
                return
            finally:
                if not written:
                    self._waiting.extendleft(reversed(batch))


def _read(batch: Sequence[tuple[str, common_pb2.Lineage]]) -> list[tuple[str, Lineage]]:
    # Requests are many and lineages few: each is read once.
    known: dict[bytes, Lineage] = {}
    found = []
    for request_id, message in batch:
        content = message.SerializeToString()
        if content not in known:
            known[content] = Lineage.from_proto(message)
        found.append((request_id, known[content]))
    return found
