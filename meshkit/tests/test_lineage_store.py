"""The lineage of requests in a real Redis."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis

from meshkit import names
from meshkit.errors import Unavailable
from meshkit.lineage import Lineage
from meshkit.lineage_store import KEPT, LineageStore
from redis_server import RedisServer

OLD = Lineage("classifier", "v1", "default", "r1", "local")
NEW = replace(OLD, version="v2", run="r2")


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    redis = RedisServer()
    redis.start()
    yield redis
    redis.process.kill()
    redis.process.wait()


@pytest.fixture
async def kept(server: RedisServer) -> AsyncIterator[LineageStore]:
    with Redis.from_url(server.url) as client:
        client.flushall()
    async with LineageStore(server.url) as opened:
        yield opened


async def test_a_request_is_found_with_what_answered_it(kept: LineageStore) -> None:
    before = datetime.now(UTC).replace(second=0, microsecond=0)
    await kept.write([("a", OLD), ("b", NEW), ("c", replace(OLD, feature_age_s=2.5))])
    (found,) = await kept.find("a")
    assert found.lineage == OLD
    assert before <= found.minute <= datetime.now(UTC)
    assert [answer.lineage for answer in await kept.find("b")] == [NEW]
    assert [answer.lineage for answer in await kept.find("c")] == [OLD]
    assert await kept.find("d") == []


async def test_the_last_answer_of_a_minute_stands_for_it(kept: LineageStore) -> None:
    await kept.write([("a", OLD), ("a", NEW)])
    found = await kept.find("a")
    assert found[0].lineage == NEW


async def test_answers_of_other_minutes_stand_beside_it(
    kept: LineageStore, server: RedisServer
) -> None:
    await kept.write([("a", NEW)])
    await _move_back(server, timedelta(hours=23, minutes=59))
    await kept.write([("a", OLD)])
    assert [answer.lineage for answer in await kept.find("a")] == [OLD, NEW]


async def test_what_is_kept_goes_after_a_day(kept: LineageStore, server: RedisServer) -> None:
    await kept.write([("a", OLD)])
    with Redis.from_url(server.url) as client:
        keys = list(client.scan_iter(f"{names.REDIS_LINEAGE}:*"))
        assert len(keys) == 2
        for key in keys:
            assert KEPT.total_seconds() < int(client.ttl(key)) <= KEPT.total_seconds() + 120


async def test_a_request_takes_little_room(kept: LineageStore, server: RedisServer) -> None:
    with Redis.from_url(server.url) as client:
        before = int(client.info("memory")["used_memory"])
        for start in range(0, 20_000, 2000):
            await kept.write((f"{number:032x}", OLD) for number in range(start, start + 2000))
        used = int(client.info("memory")["used_memory"]) - before
    assert used / 20_000 < 150


async def test_nothing_to_write_asks_nobody() -> None:
    async with LineageStore("redis://127.0.0.1:1/0") as absent:
        await absent.write([])


async def test_a_redis_that_is_gone_is_said_so() -> None:
    async with LineageStore("redis://127.0.0.1:1/0") as absent:
        with pytest.raises(Unavailable, match="can't be reached"):
            await absent.write([("a", OLD)])
        with pytest.raises(Unavailable, match="can't be reached"):
            await absent.find("a")


async def _move_back(server: RedisServer, age: timedelta) -> None:
    """Makes what was written look older."""
    minute = datetime.now(UTC) - age
    with Redis.from_url(server.url) as client:
        for key in list(client.scan_iter(f"{names.REDIS_LINEAGE}:*")):
            kind = key.decode().rpartition(":")[0]
            client.rename(key, f"{kind}:{minute:%Y%m%d%H%M}")
