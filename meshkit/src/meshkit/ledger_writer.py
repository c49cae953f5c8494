"""Writes usage into the ledger, off the path of requests: nobody waits for it, nothing is lost.

What has been used is added up here until it is written, so that what waits is bounded by the rows
that there are, however long Redis is away.
"""

import asyncio
import json
import logging
import secrets
import socket
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from typing import Final
from weakref import WeakSet

from meshkit import names, telemetry
from meshkit.errors import Unavailable
from meshkit.ledger import NOBODY, Ledger, Row, Source, Usage, Writer
from meshkit.settings import Settings

WRITE_EVERY_S: Final = 0.25
RETRY_EVERY_S: Final = 1.0
FLUSH_S: Final = 3.0
"""Most seconds that the end of a process waits for the last rows."""
_MOST_ROWS: Final = 20_000
_MOST_AT_ONCE: Final = 500
_log = logging.getLogger(__name__)
_overflow = telemetry.counter(
    names.LEDGER_OVERFLOW,
    "{request}",
    "Requests whose key is not in the ledger, since too many rows waited; their tokens are.",
)
_known: "WeakSet[LedgerWriter]" = WeakSet()
telemetry.observed(
    names.LEDGER_WAITING,
    "{row}",
    "Rows that wait to be written into the ledger.",
    lambda: [(each.waiting, {}) for each in tuple(_known)],
)


class LedgerWriter:
    """Adds usage up and writes it.

    Args:
        ledger: where it goes.
        service: whose usage it is, such as `llm`.
        metrics_url: where the counters of this process are.
    """

    def __init__(self, ledger: Ledger, service: str, metrics_url: str) -> None:
        self._ledger = ledger
        self._writer = Writer(
            secrets.token_hex(8), service, metrics_url, datetime.now(UTC).replace(microsecond=0)
        )
        self._registered = False
        self._pruned: date | None = None
        self._rows: OrderedDict[Row, Usage] = OrderedDict()
        self._batch = 0
        self._writing: Mapping[Row, Usage] = {}
        self._news = asyncio.Event()
        self._away = False
        _known.add(self)

    @property
    def waiting(self) -> int:
        """Rows that are not written yet."""
        return len(self._rows) + len(self._writing)

    def add(self, tenant: str, key_id: str, model: str, source: Source, usage: Usage) -> None:
        """Takes what a request has used, as of now."""
        today = datetime.now(UTC).date()
        row = Row(today, tenant or NOBODY, key_id or NOBODY, model, source)
        if row not in self._rows and len(self._rows) >= _MOST_ROWS:
            _overflow.add(1)
            row = replace(row, tenant=NOBODY, key_id=names.OTHER)
        self._rows[row] = self._rows.get(row, Usage()) + usage
        self._news.set()

    async def run(self) -> None:
        """Writes until cancelled, and then what still waits."""
        try:
            while True:
                await self._write_all()
                await self._news.wait()
                self._news.clear()
                await asyncio.sleep(WRITE_EVERY_S)
        finally:
            await self._flush()

    async def _flush(self) -> None:
        try:
            async with asyncio.timeout(FLUSH_S):
                await self._write_all()
        except TimeoutError:
            pass
        if not self.waiting:
            return
        # The last resort: the log has what the ledger lacks.
        lost: dict[Row, Usage] = dict(self._writing)
        for row, usage in self._rows.items():
            lost[row] = lost.get(row, Usage()) + usage
        for row, usage in lost.items():
            said = {**asdict(row), "day": row.day.isoformat(), **asdict(usage)}
            _log.error("not in the ledger, since Redis is away: %s", json.dumps(said))

    async def _write_all(self) -> None:
        """Writes until nothing waits, however long Redis is away."""
        while self.waiting or not self._registered:
            try:
                await self._write_some()
            except Unavailable as error:
                if not self._away:
                    _log.warning("the ledger is written later: %s", error)
                self._away = True
                await asyncio.sleep(RETRY_EVERY_S)
            else:
                self._away = False

    async def _write_some(self) -> None:
        if not self._registered:
            await self._ledger.register(self._writer)
            self._registered = True
        if self._pruned != (today := datetime.now(UTC).date()):
            await self._ledger.prune()
            self._pruned = today
        if not self._writing and self._rows:
            # A batch stays as it is until it is written: it may have been, without an answer.
            self._batch += 1
            count = min(len(self._rows), _MOST_AT_ONCE)
            self._writing = dict(self._rows.popitem(last=False) for _ in range(count))
        if self._writing:
            await self._ledger.write(self._writer.id, self._batch, self._writing)
            self._writing = {}


def metrics_url(settings: Settings) -> str:
    """Where others find the counters of this process."""
    address = settings.bind_address
    if address in {"0.0.0.0", "::"}:  # noqa: S104  # compared, and listened on by nobody here
        address = socket.gethostbyname(socket.gethostname())
    return f"http://{address}:{settings.admin_port}/metrics"
