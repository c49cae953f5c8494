"""The ledger in a real Redis, and what writes it: once each, whatever becomes of Redis."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from redis import Redis

from meshkit import ledger as ledger_module
from meshkit import ledger_writer, names
from meshkit.errors import Unavailable
from meshkit.ledger import KEPT, Ledger, Row, Source, Usage, Writer
from meshkit.ledger_writer import LedgerWriter
from redis_server import RedisServer

DAY = date(2026, 5, 4)
ROW = Row(DAY, "shop", "a1", "llm", Source.LOCAL)
USE = Usage(1, 10, 4, 20, 300, 40, 0, 5)
TODAY = datetime.now(UTC).date()
PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    redis = RedisServer()
    redis.start()
    yield redis
    redis.stop()


@pytest.fixture
async def ledger(server: RedisServer) -> AsyncIterator[Ledger]:
    with Redis.from_url(server.url) as client:
        client.flushall()
        client.script_flush()
    async with Ledger(server.url) as opened:
        yield opened


@asynccontextmanager
async def running(writer: LedgerWriter) -> AsyncIterator[None]:
    task = asyncio.create_task(writer.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until_written(writer: LedgerWriter) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while writer.waiting:  # noqa: ASYNC110  # nobody tells when it is
            await asyncio.sleep(0.01)


async def test_usage_is_added_up_by_row(ledger: Ledger) -> None:
    other = replace(ROW, key_id="b2", model="llm-terse", source=Source.REMOTE)
    await ledger.write("w", 1, {ROW: USE, other: USE})
    await ledger.write("w", 2, {ROW: USE})
    assert await ledger.read(DAY, DAY) == {ROW: USE + USE, other: USE}
    assert await ledger.written("w") == {
        ("llm", Source.LOCAL): USE + USE,
        ("llm-terse", Source.REMOTE): USE,
    }


async def test_a_batch_counts_once_however_often_it_is_written(ledger: Ledger) -> None:
    tenants = {replace(ROW, tenant=name): USE for name in ("shop", "other")}
    for _ in range(3):
        await ledger.write("w", 1, tenants)
    await ledger.write("v", 1, {ROW: USE})
    assert (await ledger.read(DAY, DAY))[ROW] == USE + USE
    assert (await ledger.written("w"))[("llm", Source.LOCAL)] == USE + USE


async def test_days_are_apart_and_read_by_their_range(ledger: Ledger) -> None:
    rows = {replace(ROW, day=TODAY - timedelta(days=number)): USE for number in range(4)}
    await ledger.write("w", 1, rows)
    read = await ledger.read(TODAY - timedelta(days=2), TODAY - timedelta(days=1))
    assert {row.day for row in read} == {TODAY - timedelta(days=1), TODAY - timedelta(days=2)}


async def test_large_sums_stay_exact(ledger: Ledger) -> None:
    large = replace(USE, charged_nanos=2**52)
    await ledger.write("w", 1, {ROW: large})
    await ledger.write("w", 2, {ROW: USE})
    assert (await ledger.read(DAY, DAY))[ROW].charged_nanos == 2**52 + USE.charged_nanos


async def test_days_are_taken_out_after_the_time_they_are_kept(
    ledger: Ledger, server: RedisServer
) -> None:
    old, kept = (TODAY - KEPT - timedelta(days=each) for each in (1, 0))
    await ledger.write("w", 1, {replace(ROW, day=day): USE for day in (old, kept, TODAY)})
    await ledger.prune()
    assert {row.day for row in await ledger.read(old, TODAY)} == {kept, TODAY}
    with Redis.from_url(server.url, decode_responses=True) as client:
        assert client.zrange(f"{names.REDIS_LEDGER}:{{shop}}:days", 0, -1) == [
            kept.isoformat(),
            TODAY.isoformat(),
        ]
        assert not client.exists(f"{names.REDIS_LEDGER}:{{shop}}:{old.isoformat()}")
        # Of a Redis that is full nobody drops what has no end.
        assert client.ttl(f"{names.REDIS_LEDGER}:{{shop}}:{TODAY.isoformat()}") == -1
        assert 0 < client.ttl(f"{names.REDIS_LEDGER}:{{shop}}:writer:w") <= KEPT.total_seconds()


async def test_a_day_has_only_so_many_rows(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Subjects of tokens may be any number; their tokens are not lost, only their names."""
    monkeypatch.setattr(ledger_module, "_MOST_ROWS", 3)
    rows = {replace(ROW, key_id=f"jwt:{number}"): USE for number in range(5)}
    await ledger.write("w", 1, rows)
    read = await ledger.read(DAY, DAY)
    assert len(read) == 4
    assert read[replace(ROW, key_id=names.OTHER)] == USE + USE
    assert (await ledger.written("w"))[("llm", Source.LOCAL)].requests == 5


async def test_a_process_is_known_until_its_rows_end(ledger: Ledger) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    old = Writer("old", "llm", "http://127.0.0.1:1/metrics", now - KEPT - timedelta(days=1))
    new = Writer("new", "llm", "http://127.0.0.1:1/metrics", now)
    await ledger.register(old)
    await ledger.register(new)
    await ledger.register(replace(new, id="newer"))
    assert {each.id for each in await ledger.writers()} == {"new", "newer"}
    assert new in await ledger.writers()


async def test_what_is_added_is_written_soon(ledger: Ledger) -> None:
    writer = LedgerWriter(ledger, "llm", "http://127.0.0.1:1/metrics")
    async with running(writer):
        for _ in range(100):
            writer.add("shop", "a1", "llm", Source.LOCAL, USE)
        writer.add("", "", "llm", Source.LOCAL, USE)
        await until_written(writer)
        rows = await ledger.read(TODAY, TODAY)
        assert rows[replace(ROW, day=TODAY)].requests == 100
        assert rows[Row(TODAY, "-", "-", "llm", Source.LOCAL)] == USE
        (known,) = await ledger.writers()
    assert known.service == "llm"


async def test_what_still_waits_is_written_at_the_end(ledger: Ledger) -> None:
    writer = LedgerWriter(ledger, "llm", "http://127.0.0.1:1/metrics")
    async with running(writer):
        async with asyncio.timeout(PATIENCE_S):
            while not await ledger.writers():  # noqa: ASYNC110  # nobody tells when
                await asyncio.sleep(0)
        writer.add("shop", "a1", "llm", Source.LOCAL, USE)
    assert (await ledger.read(TODAY, TODAY))[replace(ROW, day=TODAY)] == USE


async def test_nothing_is_lost_or_counted_twice_while_redis_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ledger_writer, "RETRY_EVERY_S", 0.05)
    redis = RedisServer()
    async with Ledger(redis.url, timeout_s=0.5) as opened:
        writer = LedgerWriter(opened, "llm", "http://127.0.0.1:1/metrics")
        async with running(writer):
            for _ in range(50):
                writer.add("shop", "a1", "llm", Source.LOCAL, USE)
                await asyncio.sleep(0)
            redis.start()
            try:
                await until_written(writer)
                assert (await opened.read(TODAY, TODAY))[replace(ROW, day=TODAY)].requests == 50
            finally:
                redis.stop()


async def test_an_answer_that_does_not_come_counts_nothing_twice(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_writer, "RETRY_EVERY_S", 0.01)
    real, fails = Ledger.write, iter((True, True, False, True, False))

    async def written_but_unheard(self: Ledger, *given: object) -> None:
        await real(self, *given)  # type: ignore[arg-type]  # what it was called with
        if next(fails, False):
            raise Unavailable("no answer came")

    monkeypatch.setattr(Ledger, "write", written_but_unheard)
    writer = LedgerWriter(ledger, "llm", "http://127.0.0.1:1/metrics")
    async with running(writer):
        for number in range(20):
            writer.add("shop", f"k{number % 3}", "llm", Source.LOCAL, USE)
            await asyncio.sleep(0.002)
        await until_written(writer)
    rows = await ledger.read(TODAY, TODAY)
    assert sum(usage.requests for usage in rows.values()) == 20


async def test_what_waits_is_bounded_and_its_tokens_are_not_lost(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_writer, "_MOST_ROWS", 10)
    writer = LedgerWriter(ledger, "llm", "http://127.0.0.1:1/metrics")
    for number in range(100):
        writer.add("shop", f"k{number}", "llm", Source.LOCAL, USE)
    assert writer.waiting == 11
    async with running(writer):
        await until_written(writer)
    rows = await ledger.read(TODAY, TODAY)
    assert sum(usage.prompt_tokens for usage in rows.values()) == 1000


async def test_what_can_not_be_written_at_the_end_is_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ledger_writer, "FLUSH_S", 0.1)
    async with Ledger("redis://127.0.0.1:1/0", timeout_s=0.2) as away:
        writer = LedgerWriter(away, "llm", "http://127.0.0.1:1/metrics")
        async with running(writer):
            await asyncio.sleep(0)
            writer.add("shop", "a1", "llm", Source.LOCAL, USE)
    (line,) = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    said = json.loads(line.partition(": ")[2])
    assert (said["tenant"], said["prompt_tokens"]) == ("shop", 10)
