"""What the clients of a Redis tell each other, and that whoever leaves a call has left it."""

import asyncio
import random
from typing import Any, cast

import pytest
from redis.exceptions import NoScriptError, ResponseError

from meshkit.errors import Unavailable
from meshkit.redis_client import RETRY_EVERY_S, Outage, RedisClient
from redis_server import RedisServer

TIMEOUT_S = 0.5


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outage(clock: Clock) -> Outage:
    return Outage(clock)


def client(url: str, outage: Outage | None = None) -> RedisClient:
    return RedisClient(
        url,
        timeout_s=TIMEOUT_S,
        max_connections=4,
        unreachable="it is away",
        reason="AWAY",
        outage=outage,
    )


def test_nobody_asks_for_a_while_and_then_one_does(outage: Outage, clock: Clock) -> None:
    assert not outage.holds(TIMEOUT_S)
    cause = TimeoutError()
    outage.begin(cause)
    assert outage.cause is cause
    assert outage.holds(TIMEOUT_S)
    clock.now_s += RETRY_EVERY_S
    assert not outage.holds(TIMEOUT_S)
    assert outage.holds(TIMEOUT_S)
    outage.end()
    assert not outage.holds(TIMEOUT_S)
    assert outage.cause is None


def test_one_that_asked_and_left_keeps_nobody_from_asking(outage: Outage, clock: Clock) -> None:
    outage.begin(TimeoutError())
    clock.now_s += RETRY_EVERY_S
    assert not outage.holds(5 * RETRY_EVERY_S)
    clock.now_s += 4 * RETRY_EVERY_S
    assert outage.holds(5 * RETRY_EVERY_S)
    clock.now_s += RETRY_EVERY_S
    assert not outage.holds(5 * RETRY_EVERY_S)


async def test_an_outage_is_shared(redis_server: RedisServer, outage: Outage) -> None:
    async with (
        client("redis://127.0.0.1:1/0", outage) as away,
        client(redis_server.url, outage) as there,
    ):
        with pytest.raises(Unavailable):
            async with away.use() as redis:
                await redis.ping()
        with pytest.raises(Unavailable) as caught:
            async with there.use():
                raise AssertionError("not to be reached")
        assert caught.value.__cause__ is outage.cause is not None
        async with there.use(in_outage=True) as redis:
            await redis.ping()
        async with there.use() as redis:
            await redis.ping()


async def test_a_refusal_of_redis_is_no_outage(redis_server: RedisServer, outage: Outage) -> None:
    async with client(redis_server.url, outage) as there:
        with pytest.raises(Unavailable) as caught:
            async with there.use() as redis:
                await cast(Any, redis).execute_command("NONSENSE")
        assert isinstance(caught.value.__cause__, ResponseError)
        assert not outage.holds(TIMEOUT_S)


async def test_whoever_is_cancelled_amid_a_call_is_cancelled(redis_server: RedisServer) -> None:
    """Also one whose command is written in that moment."""
    chance = random.Random(1)

    async with client(redis_server.url) as there:

        async def call() -> None:
            async with there.use() as redis:
                await redis.ping()

        async def call_and_leave() -> bool:
            task = asyncio.create_task(call())
            for _ in range(chance.randrange(12)):
                await asyncio.sleep(0)
            left = task.cancel()
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
            return isinstance(outcome, asyncio.CancelledError) == left

        for _ in range(50):
            assert all(await asyncio.gather(*(call_and_leave() for _ in range(20))))


async def test_commands_go_together_and_answers_come_in_order(redis_server: RedisServer) -> None:
    async with client(redis_server.url) as opened:
        answers = await opened.trip([("SET", "a", 1), ("GET", "a"), ("INCRBY", "a", 5)])
    assert answers == ["OK", "1", 6]


async def test_a_trip_that_redis_refuses_in_part_leaves_the_connection_good(
    redis_server: RedisServer,
) -> None:
    async with client(redis_server.url) as opened:
        with pytest.raises(Unavailable) as caught:
            await opened.trip([("SET", "a", "word"), ("INCR", "a"), ("SET", "b", 2)])
        assert isinstance(caught.value.__cause__, ResponseError)
        with pytest.raises(NoScriptError):
            await opened.trip([("EVALSHA", "0" * 40, 0), ("GET", "b")])
        assert await opened.trip([("GET", "b")]) == ["2"]


async def test_a_kept_connection_that_redis_has_closed_is_made_anew(
    redis_server: RedisServer,
) -> None:
    async with client(redis_server.url) as opened, client(redis_server.url) as other:
        assert await opened.trip([("PING",)]) == ["PONG"]
        assert await other.trip([("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")]) == [1]
        assert await opened.trip([("PING",)]) == ["PONG"]


async def test_a_trip_that_is_cancelled_leaves_no_answer_behind(redis_server: RedisServer) -> None:
    async with client(redis_server.url) as opened, client(redis_server.url) as other:
        assert await opened.trip([("PING",)]) == ["PONG"]
        trip = asyncio.create_task(opened.trip([("BLPOP", "nothing", 60)]))
        async with asyncio.timeout(TIMEOUT_S):
            while "blocked_clients:1" not in (await other.trip([("INFO", "clients")]))[0]:
                pass
        trip.cancel()
        with pytest.raises(asyncio.CancelledError):
            await trip
        mine = asyncio.create_task(opened.trip([("ECHO", "mine")]))
        await other.trip([("RPUSH", "nothing", "somebody else's")])
        assert await mine == ["mine"]


async def test_a_trip_without_an_answer_is_an_outage(redis_server: RedisServer) -> None:
    outage = Outage()
    async with client(redis_server.url, outage) as opened:
        with pytest.raises(Unavailable):
            await opened.trip([("BLPOP", "nothing", 60)])
        assert outage.holds(TIMEOUT_S)
