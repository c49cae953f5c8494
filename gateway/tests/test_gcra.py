"""Rate limits against an exact model: the script in a real Redis, the buckets of one process."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from mesh_gateway import gcra
from mesh_gateway.buckets import Bucket, Decision, Draft
from mesh_gateway.gcra import LocalBuckets, Lot
from meshkit.rates import Rate
from meshkit.redis_client import RedisClient
from processes import PATIENCE_S, RedisServer

RATES = [
    Rate(10, "s", 1),
    Rate(7, "s", 3),
    Rate(600, "m", 50),
    Rate(3, "h", 2),
    Rate(1000, "s", 10),
]
# Where the script takes the time from in these tests, in its own microseconds.
_CLOCK = "test:now"
_EPOCH_S = 1_700_000_000


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()


@pytest.fixture
def _set_clock(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the script read a clock that the test sets."""
    stopped = gcra._SCRIPT.replace("redis.call('TIME')", f"redis.call('LRANGE', '{_CLOCK}', 0, 1)")
    assert stopped != gcra._SCRIPT
    # Buckets then live as long as the test's own time wants.
    stopped = stopped.replace(", 'PX', lifetime", "")
    monkeypatch.setattr(gcra, "_SCRIPT", stopped)
    with Redis.from_url(redis_server.url) as client:
        monkeypatch.setattr(gcra, "_SHA", client.script_load(stopped))


def buckets(*rates: Rate) -> tuple[Bucket, ...]:
    return tuple(
        Bucket(f"mesh:limit:{{t}}:{number}", "key", f"key:{number}", rate)
        for number, rate in enumerate(rates)
    )


@dataclass
class Model:
    """The algorithm with exact numbers: a leaky bucket that may hold `burst` requests."""

    full_at: dict[str, Fraction] = field(default_factory=dict)

    def take(self, draft: Draft, now_us: int) -> tuple[bool, Fraction]:
        """Whether it passes, and microseconds until it would."""
        after, late = {}, Fraction(0)
        for bucket in draft.buckets:
            interval = Fraction(bucket.rate.period_s * 10**6, bucket.rate.requests)
            at = max(self.full_at.get(bucket.name, Fraction(now_us)), Fraction(now_us))
            after[bucket.name] = at + draft.cost * interval
            late = max(late, after[bucket.name] - bucket.rate.burst * interval - now_us)
        if late <= 0:
            self.full_at |= after
        return late <= 0, late

    def left(self, bucket: Bucket, now_us: int) -> Fraction:
        interval = Fraction(bucket.rate.period_s * 10**6, bucket.rate.requests)
        at = max(self.full_at.get(bucket.name, Fraction(now_us)), Fraction(now_us))
        return bucket.rate.burst - (at - now_us) / interval


def close_call(late: Fraction) -> bool:
    """Whether rounding may decide otherwise than exact numbers would."""
    return abs(late) < Fraction(1, 2)


scripts = st.lists(
    st.tuples(
        st.integers(0, 400_000),  # microseconds since the one before
        st.lists(st.integers(0, len(RATES) - 1), min_size=1, max_size=2, unique=True),
        st.integers(1, 6),  # requests
    ),
    min_size=1,
    max_size=30,
)


def connected(url: str) -> RedisClient:
    return RedisClient(
        url, timeout_s=PATIENCE_S, max_connections=1, unreachable="it is away", reason="AWAY"
    )


async def trip(url: str, lots: list[Lot], now_us: int) -> list[list[Decision]]:
    async with connected(url) as client:
        await client.trip(
            [
                ("DEL", _CLOCK),
                ("RPUSH", _CLOCK, _EPOCH_S + now_us // 10**6, now_us % 10**6),
            ]
        )
        return await gcra.take(client.trip, lots)


@pytest.mark.usefixtures("_set_clock")
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(scripts)
def test_the_script_lets_through_what_the_model_does(
    redis_server: RedisServer, script: list[tuple[int, list[int], int]]
) -> None:
    with Redis.from_url(redis_server.url) as client:
        client.flushdb()
    model, now_us = Model(), 0
    every = buckets(*RATES)

    async def run() -> None:
        nonlocal now_us
        for gap_us, chosen, requests in script:
            now_us += gap_us
            draft = Draft("t", tuple(every[index] for index in chosen))
            ((*decisions,),) = await trip(redis_server.url, [Lot(draft, requests)], now_us)
            assert len(decisions) == requests
            for decision in decisions:
                passed, late = model.take(draft, now_us)
                if close_call(late):
                    return  # from here on both may differ by one
                assert decision.passed == passed
                if not passed:
                    assert decision.retry_s * 1e6 == pytest.approx(float(late), abs=2)
            for bucket, level in zip(draft.buckets, decisions[-1].levels, strict=True):
                left = model.left(bucket, now_us)
                if not close_call((left - round(left)) * 10**5):
                    assert level.left == int(left)

    asyncio.run(run())


@given(scripts)
def test_a_process_alone_lets_through_what_the_model_does(
    script: list[tuple[int, list[int], int]],
) -> None:
    model, now_us = Model(), 0
    alone = LocalBuckets(1, lambda: now_us / 1e6)
    every = buckets(*RATES)
    for gap_us, chosen, requests in script:
        now_us += gap_us
        draft = Draft("t", tuple(every[index] for index in chosen))
        for _ in range(requests):
            decision = alone.take(draft)
            passed, late = model.take(draft, now_us)
            if close_call(late):
                return
            assert decision.passed == passed
            if not passed:
                assert decision.retry_s * 1e6 == pytest.approx(float(late), abs=2)


def test_requests_of_many_lots_share_one_trip(redis_server: RedisServer) -> None:
    with Redis.from_url(redis_server.url) as client:
        client.flushdb()
        client.config_resetstat()

    def draft(tenant: str, *rates: Rate) -> Draft:
        return Draft(
            tenant,
            tuple(
                Bucket(f"mesh:limit:{{{tenant}}}:{n}", "key", f"key:{n}", rate)
                for n, rate in enumerate(rates)
            ),
        )

    few, many = Rate(1, "h", 2), Rate(1, "h", 100)
    lots = [Lot(draft("a", few, many), 3), Lot(draft("b", many), 2), Lot(draft("a", few), 1)]

    async def run() -> list[list[Decision]]:
        async with connected(redis_server.url) as client:
            return await gcra.take(client.trip, lots)

    first, second, third = asyncio.run(run())
    assert [decision.passed for decision in first] == [True, True, False]
    assert [level.left for level in first[0].levels] == [0, 98]
    assert first[2].retry_s == pytest.approx(3600, abs=1)
    assert [decision.passed for decision in second] == [True, True]
    assert second[0].levels[0].left == 98
    # It shares a bucket with the first lot, which has emptied it.
    assert [decision.passed for decision in third] == [False]


def test_one_that_costs_more_takes_more(redis_server: RedisServer) -> None:
    with Redis.from_url(redis_server.url) as client:
        client.flushdb()
    (bucket,) = buckets(Rate(1, "h", 10))

    async def run(cost: int) -> Decision:
        async with connected(redis_server.url) as client:
            ((decision,),) = await gcra.take(client.trip, [Lot(Draft("t", (bucket,), cost), 1)])
            return decision

    assert asyncio.run(run(7)).levels[0].left == 3
    refused = asyncio.run(run(4))
    assert not refused.passed
    assert refused.levels[0].left == 3
    assert refused.retry_s == pytest.approx(3600, abs=2)
    assert asyncio.run(run(3)).levels[0].left == 0


def test_a_bucket_is_gone_from_redis_once_it_is_full_again(redis_server: RedisServer) -> None:
    with Redis.from_url(redis_server.url) as client:
        client.flushdb()
        (bucket,) = buckets(Rate(10, "s", 5))

        async def run() -> Any:
            async with connected(redis_server.url) as client:
                await gcra.take(client.trip, [Lot(Draft("t", (bucket,)), 5)])

        asyncio.run(run())
        assert 400 < client.pttl(bucket.name) <= 502  # five at ten a second


def test_a_share_is_what_one_of_several_lets_through() -> None:
    alone = LocalBuckets(3, lambda: 0.0)
    draft = Draft("t", buckets(Rate(600, "m", 30)))
    assert sum(alone.take(draft).passed for _ in range(100)) == 10
    # One that costs more than the share holds is not refused for ever.
    assert LocalBuckets(3, lambda: 0.0).take(Draft("t", draft.buckets, cost=25)).passed


def test_the_path_of_the_script_is_in_the_package() -> None:
    assert (Path(gcra.__file__).parent / "gcra.lua").is_file()
