"""Reservations of tokens and money in a real Redis, against an exact model."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from meshkit import reservations
from meshkit.errors import Unavailable
from meshkit.prices import Price
from meshkit.reservations import KEPT_S, Account, Kind, Reservations, Ticket, Used
from redis_server import RedisServer

FREE = Price(Decimal(0), Decimal(0), Decimal(0))
# A token costs 100 and 400 billionths.
PRICE = Price(Decimal("0.1"), Decimal("0.05"), Decimal("0.4"))
MINUTE = Account(Kind.TOKENS, "mesh:tokens:{t}:minute", 100, 600_000.0)
SECOND = Account(Kind.TOKENS, "mesh:tokens:{t}:second", 40, 1e6 / 7)
DAY = Account(Kind.DAY, "mesh:budget:{t}:day", 30_000)
LEASE_S = 10
_CLOCK = "test:now"
_EPOCH_S = 1_700_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    redis = RedisServer()
    redis.start()
    yield redis
    redis.stop()


@pytest.fixture
def clock(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> "Clock":
    """Lets the script read a clock that the test sets; what it writes lives as long as that."""
    stopped = reservations._SCRIPT.replace(
        "redis.call('TIME')", f"redis.call('LRANGE', '{_CLOCK}', 0, 1)"
    )
    for call in ("redis.call('PEXPIRE', key, lifetime)", ", 'PX', lifetime"):
        assert call in stopped
        stopped = stopped.replace(call, "")
    with Redis.from_url(server.url) as client:
        client.flushall()
        monkeypatch.setattr(reservations, "_SCRIPT", stopped)
        monkeypatch.setattr(reservations, "_SHA", client.script_load(stopped))
    return Clock(server.url)


class Clock:
    """What the script takes for the time."""

    def __init__(self, url: str) -> None:
        self._url = url

    def set(self, micros: int) -> None:
        with Redis.from_url(self._url) as client:
            client.delete(_CLOCK)
            client.rpush(_CLOCK, _EPOCH_S + micros // 10**6, micros % 10**6)

    def set_moment(self, moment: datetime) -> None:
        self.set(round((moment.timestamp() - _EPOCH_S) * 10**6))


@asynccontextmanager
async def opened(server: RedisServer) -> AsyncIterator[Reservations]:
    async with Reservations(server.url, timeout_s=10) as made:
        yield made


def ticket(number: object, *holds: tuple[Account, int], price: Price = FREE) -> Ticket:
    return Ticket("t", f"r{number}", holds, price)


@dataclass
class Model:
    """The same with exact numbers and plain lists, as its users are told that it counts."""

    used: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    open: dict[str, dict[int, tuple[int, int]]] = field(default_factory=dict)

    def left(self, account: Account, now_us: int) -> Fraction:
        """Units that a leaky bucket has room for, replayed from its beginning."""
        level, at = Fraction(0), 0
        interval = Fraction(account.interval_us)
        for when, amount in self.used.get(account.key, []):
            level = max(Fraction(0), level - (when - at) / interval) + amount
            at = when
        level = max(Fraction(0), level - (now_us - at) / interval)
        held = self.open.get(account.key, {})
        return account.most - level - sum(amount for amount, _ in held.values())

    def expire(self, now_us: int) -> None:
        for held in self.open.values():
            for number in [each for each, (_, until) in held.items() if until <= now_us // 1000]:
                del held[number]

    def reserve(self, number: int, holds: list[tuple[Account, int]], now_us: int) -> Fraction:
        """The least room that is left; below zero it is refused."""
        self.expire(now_us)
        least = min(self.left(account, now_us) - amount for account, amount in holds)
        if least >= 0:
            for account, amount in holds:
                until = now_us // 1000 + LEASE_S * 1000
                self.open.setdefault(account.key, {})[number] = (amount, until)
        return least

    def settle(self, number: int, holds: list[tuple[Account, int]], used: int, now_us: int) -> None:
        self.expire(now_us)
        for account, _ in holds:
            self.open.get(account.key, {}).pop(number, None)
            self.used.setdefault(account.key, []).append((now_us, used))


steps = st.lists(
    st.tuples(
        st.integers(0, 6_000_000),  # microseconds since the one before
        st.sampled_from([(MINUTE,), (SECOND,), (MINUTE, SECOND)]),
        st.integers(1, 45),  # tokens that are reserved
        st.integers(0, 100),  # percent of them that are used
        st.integers(0, 4),  # after how many further steps; over them its lease may end
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_what_passes_is_what_an_exact_model_lets_pass(
    server: RedisServer,
    clock: Clock,
    steps: list[tuple[int, tuple[Account, ...], int, int, int]],
) -> None:
    with Redis.from_url(server.url) as client:
        client.flushall()
    asyncio.run(_replay(server, clock, steps))


async def _replay(
    server: RedisServer,
    clock: Clock,
    steps: list[tuple[int, tuple[Account, ...], int, int, int]],
) -> None:
    model, now_us = Model(), 0
    pending: list[tuple[int, Ticket, int, int]] = []
    passed_at: list[tuple[int, tuple[Account, ...], int]] = []
    async with opened(server) as store:
        for number, (gap_us, accounts, amount, percent, later) in enumerate(steps):
            now_us += gap_us
            clock.set(now_us)
            for due in [each for each in pending if each[0] <= number]:
                pending.remove(due)
                _, owner, of, used = due
                await store.settle([(owner, Used(completion=used))])
                model.settle(of, list(owner.holds), used, now_us)
                passed_at.append((now_us, tuple(each for each, _ in owner.holds), used))
            holds = [(each, amount) for each in accounts]
            own = ticket(number, *holds)
            verdict = await store.reserve(own, LEASE_S)
            room = model.reserve(number, holds, now_us)
            if abs(room) < Fraction(1, 1000) and verdict.passed != (room >= 0):
                return  # rounding may decide otherwise than exact numbers would
            assert verdict.passed == (room >= 0), (number, float(room))
            for account, level in zip(accounts, verdict.levels, strict=True):
                exact = model.left(account, now_us)
                assert level.left == pytest.approx(max(0, exact), abs=1.001)
            if verdict.passed:
                used = amount * percent // 100
                pending.append((number + 1 + later, own, number, used))
    for account in (MINUTE, SECOND):
        _bounded(account, [(at, used) for at, owners, used in passed_at if account in owners])


def _bounded(account: Account, passed: list[tuple[int, int]]) -> None:
    """In no stretch of time more passed than the limit says, but for leases that had ended."""
    slack = 45 * 4  # what may have been used under a lease that was over
    for first, (begin, _) in enumerate(passed):
        total = 0
        for end, used in passed[first:]:
            total += used
            assert total <= account.most + (end - begin) / account.interval_us + slack


async def test_what_is_reserved_does_not_come_back_with_time(
    server: RedisServer, clock: Clock
) -> None:
    """Or it would be there twice: once come back, once given back."""
    async with opened(server) as store:
        clock.set(0)
        long = ticket("long", (MINUTE, 60))
        assert (await store.reserve(long, 3600)).passed
        clock.set(50_000_000)
        assert (await store.reserve(ticket("b", (MINUTE, 40)), 3600)).levels[0].left == 0
        await store.settle([(long, Used())])
        assert (await store.reserve(ticket("c", (MINUTE, 60)), 3600)).passed
        refused = await store.reserve(ticket("d", (MINUTE, 1)), 3600)
        assert not refused.passed
        assert refused.levels[0].fits_s == pytest.approx(0.6)


async def test_settling_gives_back_what_was_not_used(server: RedisServer, clock: Clock) -> None:
    async with opened(server) as store:
        clock.set(0)
        own = ticket(1, (MINUTE, 90), (DAY, 20_000), price=PRICE)
        assert (await store.reserve(own, LEASE_S)).passed
        await store.settle([(own, Used(prompt=10, completion=20, cached_prompt=4))])
        after = await store.reserve(ticket(2, (MINUTE, 1), (DAY, 1), price=PRICE), LEASE_S)
        assert after.levels[0].left == 100 - 30 - 1
        assert after.levels[1].left == 30_000 - (6 * 100 + 4 * 50 + 20 * 400) - 1


async def test_settled_twice_it_counts_once_and_the_larger_one(
    server: RedisServer, clock: Clock
) -> None:
    async with opened(server) as store:
        clock.set(0)
        own = ticket(1, (MINUTE, 50))
        await store.reserve(own, LEASE_S)
        for used in (20, 20, 30, 10):
            await store.settle([(own, Used(completion=used))])
        after = await store.reserve(ticket(2, (MINUTE, 1)), LEASE_S)
        assert after.levels[0].left == 100 - 30 - 1


async def test_a_reservation_that_nobody_settles_comes_back(
    server: RedisServer, clock: Clock
) -> None:
    async with opened(server) as store:
        clock.set(0)
        dead = ticket("dead", (MINUTE, 100), (DAY, 30_000))
        assert (await store.reserve(dead, LEASE_S)).passed
        clock.set(9_999_000)
        assert not (await store.reserve(ticket(1, (DAY, 1)), LEASE_S)).passed
        clock.set(10_000_000)
        assert (await store.reserve(ticket(2, (MINUTE, 100), (DAY, 30_000)), LEASE_S)).passed


async def test_what_is_settled_after_its_lease_is_charged_all_the_same(
    server: RedisServer, clock: Clock
) -> None:
    async with opened(server) as store:
        clock.set(0)
        late = ticket("late", (MINUTE, 50))
        await store.reserve(late, LEASE_S)
        clock.set(11_000_000)
        assert (await store.reserve(ticket(1, (MINUTE, 100)), LEASE_S)).passed
        await store.settle([(late, Used(completion=50)), (ticket(1, (MINUTE, 100)), Used())])
        refused = await store.reserve(ticket(2, (MINUTE, 51)), LEASE_S)
        assert (refused.passed, refused.levels[0].left) == (False, 50)


async def test_what_is_settled_before_it_comes_holds_nothing(
    server: RedisServer, clock: Clock
) -> None:
    """As when Redis takes the trip that nobody waits for any more after the one that undoes it."""
    async with opened(server) as store:
        clock.set(0)
        own = ticket("gone", (MINUTE, 100))
        await store.settle([(own, Used())])
        assert (await store.reserve(own, LEASE_S)).passed
        assert (await store.reserve(ticket(1, (MINUTE, 100)), LEASE_S)).passed


async def test_all_accounts_give_or_none(server: RedisServer, clock: Clock) -> None:
    narrow = replace(DAY, key="mesh:budget:{t}:narrow", most=10)
    requests = Account(Kind.REQUESTS, "mesh:limit:{t}:r", 3, 1e6)
    async with opened(server) as store:
        clock.set(0)
        refused = await store.reserve(ticket(1, (MINUTE, 50), (narrow, 11)), LEASE_S, [requests])
        assert not refused.passed
        assert [level.left for level in refused.levels] == [3, 100, 10]
        passed = await store.reserve(ticket(2, (MINUTE, 50), (narrow, 10)), LEASE_S, [requests])
        assert [level.left for level in passed.levels] == [2, 50, 0]


@pytest.mark.parametrize(
    ("kind", "now", "begins_anew"),
    [
        (Kind.DAY, datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)),
        (Kind.MONTH, datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)),
        (Kind.MONTH, datetime(2026, 12, 31, 5, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        (Kind.MONTH, datetime(2100, 2, 28, tzinfo=UTC), datetime(2100, 3, 1, tzinfo=UTC)),
    ],
)
async def test_a_budget_is_whole_with_its_next_period(
    server: RedisServer, clock: Clock, kind: Kind, now: datetime, begins_anew: datetime
) -> None:
    budget = Account(kind, f"mesh:budget:{{t}}:{kind}", 100)
    second = timedelta(seconds=1)
    async with opened(server) as store:
        clock.set_moment(now)
        price = replace(FREE, output=Decimal("0.001"))  # a token is a billionth
        own = ticket(1, (budget, 100), price=price)
        await store.reserve(own, LEASE_S)
        await store.settle([(own, Used(completion=100))])
        refused = await store.reserve(ticket(2, (budget, 1)), LEASE_S)
        assert not refused.passed
        assert refused.levels[0].fits_s == (begins_anew - now).total_seconds()
        clock.set_moment(begins_anew - second / 2)
        assert not (await store.reserve(ticket(3, (budget, 1)), LEASE_S)).passed
        clock.set_moment(begins_anew)
        assert (await store.reserve(ticket(4, (budget, 100)), LEASE_S)).passed


@given(st.dates(min_value=date(2000, 1, 1), max_value=date(2399, 12, 31)))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_months_are_those_of_the_calendar(server: RedisServer, clock: Clock, day: date) -> None:
    async def left_s() -> float:
        async with opened(server) as store:
            account = Account(Kind.MONTH, "mesh:budget:{t}:calendar", 10)
            return (await store.reserve(ticket(day, (account, 0)), 1)).levels[0].whole_s

    moment = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    clock.set_moment(moment)
    following = (moment.replace(day=1) + timedelta(days=32)).replace(day=1, hour=0)
    assert asyncio.run(left_s()) == (following - moment).total_seconds()


async def test_those_that_come_together_share_a_trip(server: RedisServer) -> None:
    wide = replace(MINUTE, key="mesh:tokens:{t}:wide", most=1_000_000)
    async with opened(server) as store:
        await store.reserve(ticket("warm", (wide, 1)), 60)
        with Redis.from_url(server.url) as client:
            client.config_resetstat()
        verdicts = await asyncio.gather(
            *(store.reserve(ticket(f"many{number}", (wide, 1)), 60) for number in range(150))
        )
        with Redis.from_url(server.url) as client:
            reads = client.info()["total_reads_processed"]
    assert min(verdict.levels[0].left for verdict in verdicts) == 1_000_000 - 151
    assert reads < 50


async def test_two_stores_never_reserve_more_than_there_is(server: RedisServer) -> None:
    narrow = Account(Kind.TOKENS, "mesh:tokens:{t}:narrow", 100, 3600e6)
    async with opened(server) as one, opened(server) as other:
        verdicts = await asyncio.gather(
            *(
                store.reserve(ticket(f"two{number}{name}", (narrow, 7)), 60)
                for number in range(20)
                for name, store in (("a", one), ("b", other))
            )
        )
    assert sum(verdict.passed for verdict in verdicts) == 100 // 7


async def test_nothing_is_left_behind_but_for_a_while(server: RedisServer) -> None:
    with Redis.from_url(server.url) as client:
        client.flushall()
        async with opened(server) as store:
            own = ticket(1, (MINUTE, 50), (DAY, 50), price=PRICE)
            await store.reserve(own, 5)
            await store.settle([(own, Used(completion=30))])
        lives_ms = {key.decode(): client.pttl(key) for key in client.scan_iter()}
    assert set(lives_ms) == {MINUTE.key, DAY.key, own.record}
    assert all(0 < each <= 86_400_000 + 5_001 for each in lives_ms.values())
    assert lives_ms[own.record] <= (KEPT_S + 5) * 1000


async def test_who_settles_elsewhere_finds_the_ticket(server: RedisServer) -> None:
    async with opened(server) as store:
        own = ticket("found", (SECOND, 5), (DAY, 50), price=PRICE)
        await store.reserve(own, 5)
        assert await store.find([("t", "rfound"), ("t", "none")]) == [own, None]


async def test_without_redis_it_says_so() -> None:
    async with Reservations("redis://127.0.0.1:1/0", timeout_s=0.5) as store:
        with pytest.raises(Unavailable) as failed:
            await store.reserve(ticket(1, (MINUTE, 1)), 5)
    assert failed.value.reason == "LIMIT_STORE_UNAVAILABLE"
