"""The limiter over real Redis servers: exact over replicas, and what happens without Redis."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis import Redis

from mesh_gateway.buckets import Bucket, Draft, check
from mesh_gateway.limiter import RETRY_EVERY_S, Limiter
from meshkit.errors import QuotaExceeded
from meshkit.rates import Rate
from processes import RedisServer


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path).start()
    yield server
    server.kill()


@asynccontextmanager
async def limiters(
    server: RedisServer, count: int = 1, replicas: int = 1
) -> AsyncIterator[list[Limiter]]:
    made = [Limiter(server.url, timeout_s=0.5, replicas=replicas) for _ in range(count)]
    for each in made:
        await each.__aenter__()
    try:
        yield made
    finally:
        for each in made:
            await each.__aexit__()


def draft(rate: Rate, name: str = "a") -> Draft:
    return Draft("t", (Bucket(f"mesh:limit:{{t}}:{name}", "key", f"key:{name}", rate),))


async def test_many_replicas_let_through_what_one_would(redis_server: RedisServer) -> None:
    rate = Rate(50, "s", 20)
    async with limiters(redis_server, count=3) as replicas:
        began = time.monotonic()
        passed = 0

        async def caller(limiter: Limiter) -> None:
            nonlocal passed
            own = draft(rate)  # each gateway makes its own
            while time.monotonic() - began < 2:
                decision = await limiter.take(own)
                passed += decision.passed
                await asyncio.sleep(0 if decision.passed else min(decision.retry_s, 0.01))

        await asyncio.gather(*(caller(each) for each in replicas for _ in range(4)))
        took_s = time.monotonic() - began
    most = rate.burst + 50 * took_s
    assert 0.95 * most - 1 <= passed <= most + 1


async def test_requests_at_once_share_trips(redis_server: RedisServer) -> None:
    async with limiters(redis_server) as (limiter,):
        await limiter.take(draft(Rate(1000, "s", 1000), "warm"))
        with Redis.from_url(redis_server.url) as client:
            client.config_resetstat()
            own = draft(Rate(1000, "s", 1000))
            decisions = await asyncio.gather(*(limiter.take(own) for _ in range(100)))
            calls = client.info("commandstats")["cmdstat_evalsha"]["calls"]
    assert all(decision.passed for decision in decisions)
    assert calls <= 2


async def test_who_was_just_refused_is_refused_without_asking(redis_server: RedisServer) -> None:
    async with limiters(redis_server) as (limiter,):
        own = draft(Rate(1, "h", 1))
        assert (await limiter.take(own)).passed
        assert not (await limiter.take(own)).passed
        with Redis.from_url(redis_server.url) as client:
            client.config_resetstat()
            refused = await limiter.take(own)
            assert "cmdstat_evalsha" not in client.info("commandstats")
    assert not refused.passed
    assert 3590 < refused.retry_s <= 3600
    assert refused.levels[0].left == 0


async def test_who_was_refused_passes_when_it_was_told_to_come_back(
    redis_server: RedisServer,
) -> None:
    async with limiters(redis_server) as (limiter,):
        own = draft(Rate(20, "s", 1))
        assert (await limiter.take(own)).passed
        refused = await limiter.take(own)
        assert 0 < refused.retry_s <= 0.05
        await asyncio.sleep(refused.retry_s)
        assert (await limiter.take(own)).passed


async def test_a_caller_that_leaves_before_the_trip_takes_nothing(
    redis_server: RedisServer,
) -> None:
    async with limiters(redis_server) as (limiter,):
        own = draft(Rate(1, "h", 5))
        tasks = [asyncio.create_task(limiter.take(own)) for _ in range(4)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (await limiter.take(own)).levels[0].left == 4


async def test_who_may_go_ahead_is_never_refused_by_what_this_gateway_lets_in(
    redis_server: RedisServer,
) -> None:
    async with limiters(redis_server) as (limiter,):
        own = draft(Rate(1, "h", 20))
        assert limiter.ahead(own) is None  # nobody knows yet what is left
        assert (await limiter.take(own)).levels[0].left == 19
        before_the_trip = [limiter.ahead(own) for _ in range(12)]
        await asyncio.sleep(0)  # the trip begins
        during_the_trip = [limiter.ahead(own) for _ in range(12)]
        ahead = [each for each in before_the_trip + during_the_trip if each]
        assert len(ahead) == 9 + 9
        assert all(decision.passed for decision in await asyncio.gather(*ahead))
        assert limiter.ahead(own) is None
        last = await limiter.take(own)
        assert (last.passed, last.levels[0].left) == (True, 0)


async def test_who_went_ahead_is_refused_where_another_gateway_was_faster(
    redis_server: RedisServer,
) -> None:
    async with limiters(redis_server, count=2) as (one, other):
        own = draft(Rate(1, "h", 8))
        assert (await one.take(own)).passed
        theirs = draft(Rate(1, "h", 8))
        assert sum([(await other.take(theirs)).passed for _ in range(8)]) == 7
        ahead = one.ahead(own)
        assert ahead is not None
        assert not (await ahead).passed
        assert one.ahead(own) is None
        assert one.refused(own) is not None


async def test_who_goes_ahead_and_leaves_takes_nothing(redis_server: RedisServer) -> None:
    async with limiters(redis_server) as (limiter,):
        own = draft(Rate(1, "h", 10))
        await limiter.take(own)
        ahead = limiter.ahead(own)
        assert ahead is not None
        ahead.cancel()
        assert (await limiter.take(own)).levels[0].left == 8


async def test_who_went_ahead_when_redis_died_gets_its_share(redis_server: RedisServer) -> None:
    async with limiters(redis_server, replicas=2) as (limiter,):
        own = draft(Rate(10, "h", 10))
        await limiter.take(own)
        redis_server.kill()
        ahead = [each for each in (limiter.ahead(own) for _ in range(4)) if each]
        assert [decision.passed for decision in await asyncio.gather(*ahead)] == [True] * 4
        assert limiter.ahead(own) is None
        assert sum([(await limiter.take(own)).passed for _ in range(9)]) == 1


async def test_a_refusal_names_the_limit_and_when_to_come_back(redis_server: RedisServer) -> None:
    few = Bucket("mesh:limit:{t}:few", "key", "key:a1", Rate(1, "h", 1))
    many = Bucket("mesh:limit:{t}:many", "tenant", "tenant:shop", Rate(1, "h", 9))
    own = Draft("t", (few, many))
    async with limiters(redis_server) as (limiter,):
        check(own, await limiter.take(own))
        with pytest.raises(QuotaExceeded) as refused:
            check(own, await limiter.take(own))
    error = refused.value
    assert "key:a1 may make 1 requests a hour, 1 at once" in error.message
    assert "tenant:shop" not in error.message
    assert [(quota.policy, quota.subject) for quota in error.quotas] == [("key", "key:a1")]
    assert error.retry_delay_s == pytest.approx(3600, abs=2)


@pytest.mark.parametrize("how", ["gone", "hanging"])
async def test_without_redis_each_gateway_lets_its_share_through(
    redis_server: RedisServer, how: str
) -> None:
    async with limiters(redis_server, replicas=2) as (limiter,):
        own = draft(Rate(10, "h", 10))
        assert (await limiter.take(own)).levels[0].left == 9
        if how == "gone":
            redis_server.kill()
        else:
            redis_server.signal(signal.SIGSTOP)
        began = time.monotonic()
        decisions = await asyncio.gather(*(limiter.take(own) for _ in range(20)))
        assert sum(decision.passed for decision in decisions) == 5
        # All of them waited for one trip, and none of the next waits for another.
        assert time.monotonic() - began < 5
        began = time.monotonic()
        assert not (await limiter.take(own)).passed
        assert time.monotonic() - began < 0.25


async def test_a_redis_that_comes_back_counts_again(redis_server: RedisServer) -> None:
    async with limiters(redis_server) as (limiter,):
        own = draft(Rate(100, "h", 100))
        redis_server.kill()
        assert (await limiter.take(own)).passed
        redis_server.start()
        await asyncio.sleep(RETRY_EVERY_S)
        # The script is not known to it any more, and it starts with full buckets.
        assert (await limiter.take(own)).levels[0].left == 99
