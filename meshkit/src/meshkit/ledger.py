"""Who has used how much of which model, and what that cost: in Redis, a row for each day.

Processes write what they have answered, and `mesh usage` reads it. Keys and tenants stand here and
not in labels of metrics, of which each would be a series for ever.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from importlib import resources
from typing import Final, Self, cast

from redis.exceptions import NoScriptError

from meshkit import names
from meshkit.redis_client import RedisClient
from meshkit.redis_pipe import Command

KEPT: Final = timedelta(days=400)
"""How long a row can be read: a year, and the month in which it is looked at."""
NOBODY: Final = "-"
"""Stands for the tenant and the key of a call that no caller made."""
_SCRIPT: Final = resources.files("meshkit").joinpath("ledger.lua").read_text("utf-8")
_SHA: Final = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
_KEPT_S: Final = int(KEPT.total_seconds())
_MOST_ROWS: Final = 20_000
_MAX_CONNECTIONS: Final = 4
_READ_AT_ONCE: Final = 500
# No key, model or tenant has it in its name: none of them may have what can't be printed.
_MARK: Final = "\t"


class Source(StrEnum):
    """Where an answer came from."""

    LOCAL = "local"
    REMOTE = "remote"
    CACHED = "cached"


@dataclass(frozen=True, slots=True, order=True)
class Row:
    """Whose usage it is, and of what.

    Attributes:
        day: in UTC.
        tenant: whom the calls belonged to.
        key_id: the public id of the key.
        model: which answered.
        source: where the answers came from.
    """

    day: date
    tenant: str
    key_id: str
    model: str
    source: Source


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used; all of them whole numbers, so that sums are exact.

    Attributes:
        requests: that used anything or failed on the way.
        prompt_tokens: of the input, the cached ones among them.
        cached_tokens: those of the input that needed no computation.
        completion_tokens: of the output.
        charged_nanos: what the tokens cost the caller, in billionths of the currency.
        cpu_ms: milliseconds of one CPU.
        gpu_ms: milliseconds of one GPU.
        compute_nanos: what those cost whoever runs the mesh, in billionths of the currency.
    """

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    charged_nanos: int = 0
    cpu_ms: int = 0
    gpu_ms: int = 0
    compute_nanos: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        """The sum."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Usage(*(one + another for one, another in pairs))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads what the script has written."""
        return cls(*(int(number) for number in text.split()))


_NUMBERS: Final = len(fields(Usage))


@dataclass(frozen=True, slots=True)
class Writer:
    """A process that writes the ledger.

    Attributes:
        id: of this run of it.
        service: such as `llm`.
        metrics_url: where its own counters are.
        started: when it was.
    """

    id: str
    service: str
    metrics_url: str
    started: datetime

    def to_text(self) -> str:
        """As it is stored."""
        return json.dumps({**asdict(self), "started": self.started.isoformat()})

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The inverse of `to_text`."""
        content = json.loads(text)
        return cls(**{**content, "started": datetime.fromisoformat(content["started"])})


class Ledger(RedisClient):
    """The ledger. Use it as an async context manager.

    Args:
        url: of the Redis, `redis://`, `rediss://` or `unix://`.
        timeout_s: most seconds of one call.
    """

    def __init__(self, url: str, *, timeout_s: float = 1.0) -> None:
        super().__init__(
            url,
            timeout_s=timeout_s,
            max_connections=_MAX_CONNECTIONS,
            unreachable="the Redis that keeps the ledger can't be reached; try again in a moment",
            reason="LEDGER_UNAVAILABLE",
        )

    async def register(self, writer: Writer) -> None:
        """Makes a process known that is going to write, and forgets those of long ago.

        Raises:
            Unavailable: Redis can't be reached.
        """
        oldest = datetime.now(UTC) - KEPT
        known = await self.writers()
        async with self.use() as redis:
            await redis.hset(names.REDIS_LEDGER_WRITERS, writer.id, writer.to_text())
            if old := [each.id for each in known if each.started < oldest]:
                await redis.hdel(names.REDIS_LEDGER_WRITERS, *old)

    async def write(self, writer_id: str, batch: int, rows: Mapping[Row, Usage]) -> None:
        """Adds usage. The same batch of a process is added once, however often it is written.

        Args:
            writer_id: of the process.
            batch: its number: greater than that of the one before.
            rows: what to add.

        Raises:
            Unavailable: Redis can't be reached; some of it may have been added.
        """
        by_tenant: dict[str, list[tuple[Row, Usage]]] = {}
        for row, usage in rows.items():
            by_tenant.setdefault(row.tenant, []).append((row, usage))
        today = datetime.now(UTC).date().toordinal()
        commands = [_added(tenant, writer_id, batch, own) for tenant, own in by_tenant.items()]
        commands += [("ZADD", names.REDIS_LEDGER_TENANTS, "GT", today, each) for each in by_tenant]
        try:
            await self.trip(commands)
        except NoScriptError:  # a Redis that was started since; what was done may be done again
            await self.trip([("SCRIPT", "LOAD", _SCRIPT)])
            await self.trip(commands)

    async def read(self, first: date, last: date) -> dict[Row, Usage]:
        """The rows of days.

        Args:
            first: of them.
            last: of them.

        Raises:
            Unavailable: Redis can't be reached.
        """
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        places = [(tenant, day) for tenant in await self._tenants(first) for day in days]
        found: dict[Row, Usage] = {}
        for start in range(0, len(places), _READ_AT_ONCE):
            part = places[start : start + _READ_AT_ONCE]
            contents = await self._hashes([_day_key(*place) for place in part])
            for (tenant, day), content in zip(part, contents, strict=True):
                for name, value in content.items():
                    key_id, model, source = name.split(_MARK)
                    row = Row(day, tenant, key_id, model, Source(source))
                    found[row] = Usage.parse(value)
        return found

    async def prune(self) -> None:
        """Takes out the days that are no longer kept.

        Raises:
            Unavailable: Redis can't be reached.
        """
        oldest = datetime.now(UTC).date() - KEPT
        tenants = await self._tenants(date.min)
        async with self.use() as redis:
            for tenant in tenants:
                index = _index_key(tenant)
                # All have the same score, so they are in the order of their names: the days.
                old = cast(list[str], await redis.zrangebylex(index, "-", f"({oldest.isoformat()}"))
                if old:
                    await redis.delete(
                        *(_day_key(tenant, date.fromisoformat(each)) for each in old)
                    )
                    await redis.zrem(index, *old)
            await redis.zremrangebyscore(
                names.REDIS_LEDGER_TENANTS, "-inf", f"({oldest.toordinal()}"
            )

    async def writers(self) -> list[Writer]:
        """The processes that have written within the time that rows are kept.

        Raises:
            Unavailable: Redis can't be reached.
        """
        async with self.use() as redis:
            found = cast(Mapping[str, str], await redis.hgetall(names.REDIS_LEDGER_WRITERS))
        return [Writer.from_text(text) for text in found.values()]

    async def written(self, writer_id: str) -> dict[tuple[str, Source], Usage]:
        """All that a process has written, by model and source.

        Raises:
            Unavailable: Redis can't be reached.
        """
        tenants = await self._tenants(datetime.now(UTC).date() - KEPT)
        totals: dict[tuple[str, Source], Usage] = {}
        for content in await self._hashes([_writer_key(each, writer_id) for each in tenants]):
            for name, value in content.items():
                if _MARK in name:
                    model, source = name.split(_MARK)
                    total = (model, Source(source))
                    totals[total] = totals.get(total, Usage()) + Usage.parse(value)
        return totals

    async def _tenants(self, since: date) -> list[str]:
        async with self.use() as redis:
            return cast(
                list[str],
                await redis.zrangebyscore(names.REDIS_LEDGER_TENANTS, since.toordinal(), "+inf"),
            )

    async def _hashes(self, keys: Sequence[str]) -> list[Mapping[str, str]]:
        async with self.use() as redis:
            pipeline = redis.pipeline(transaction=False)
            for key in keys:
                pipeline.hgetall(key)
            found: list[Mapping[str, str]] = await pipeline.execute()
        return found


def _added(tenant: str, writer_id: str, batch: int, rows: Iterable[tuple[Row, Usage]]) -> Command:
    days: list[date] = []
    told: list[str | int] = []
    for row, usage in rows:
        if row.day not in days:
            days.append(row.day)
        total = f"{row.model}{_MARK}{row.source}"
        told += [days.index(row.day) + 1, f"{row.key_id}{_MARK}{total}", f"{_MARK}{total}", total]
        told += [_NUMBERS, *astuple(usage)]
    keys = [
        _writer_key(tenant, writer_id),
        _index_key(tenant),
        *(_day_key(tenant, day) for day in days),
    ]
    return (
        "EVALSHA",
        _SHA,
        len(keys),
        *keys,
        *(batch, _KEPT_S, _MOST_ROWS, names.OTHER),
        *told,
    )


def _day_key(tenant: str, day: date) -> str:
    # The tenant is the hash tag: what is added together lies in one slot of a Redis Cluster.
    return f"{names.REDIS_LEDGER}:{{{tenant}}}:{day.isoformat()}"


def _index_key(tenant: str) -> str:
    return f"{names.REDIS_LEDGER}:{{{tenant}}}:days"


def _writer_key(tenant: str, writer_id: str) -> str:
    return f"{names.REDIS_LEDGER}:{{{tenant}}}:writer:{writer_id}"
