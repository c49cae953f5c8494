"""The access log, off the path of the requests."""

import asyncio
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import BinaryIO, Final

import msgspec

from meshkit import names, telemetry

_FLUSH_EVERY_S: Final = 0.1
_dropped = telemetry.counter(
    names.ACCESS_LOG_DROPPED, "{line}", "Access log lines dropped since too many waited."
)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One request, in the form of the other log lines."""

    time: datetime
    level: str = "INFO"
    logger: str = "mesh_gateway.access"
    service: str = "gateway"
    message: str
    request_id: str
    trace_id: str | None
    method: str
    path: str
    route: str
    status: int
    duration_ms: float
    backend_ms: float
    client: str | None
    key_id: str | None
    tenant: str | None


class AccessLog:
    """Lines wait in a bounded list and are written by another thread, many at once.

    A slow pipe or disk delays no request: what no longer fits is dropped and counted.

    Args:
        capacity: most lines that wait.
        out: where they go; stderr by default.
    """

    def __init__(self, capacity: int, out: BinaryIO | None = None) -> None:
        self._capacity = capacity
        self._out = out or sys.stderr.buffer
        self._waiting: list[Line] = []
        self._news = asyncio.Event()
        self._encoder = msgspec.json.Encoder()

    def add(self, line: Line) -> None:
        """Takes a line, or drops it where too many wait."""
        if len(self._waiting) >= self._capacity:
            _dropped.add(1)
            return
        self._waiting.append(line)
        self._news.set()

    async def run(self) -> None:
        """Writes lines until cancelled, and then those that still wait."""
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                await asyncio.to_thread(self._write, self._take())
                await asyncio.sleep(_FLUSH_EVERY_S)
        finally:
            self._write(self._take())

    def _take(self) -> Sequence[Line]:
        lines, self._waiting = self._waiting, []
        return lines

    def _write(self, lines: Sequence[Line]) -> None:
        self._out.write(self._encoder.encode_lines(lines))
        self._out.flush()
