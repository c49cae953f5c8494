"""Leased slots in a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from redis import Redis

from mesh_gateway.slots import Slots
from meshkit.errors import QuotaExceeded
from processes import RedisServer, until

NAME, SUBJECT = "mesh:slots:{t}:a", "key:a"


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path).start()
    yield server
    server.kill()


@asynccontextmanager
async def slots(server: RedisServer, replicas: int = 1) -> AsyncIterator[Slots]:
    async with Slots(server.url, timeout_s=0.5, replicas=replicas) as opened:
        yield opened


def held(server: RedisServer) -> int:
    with Redis.from_url(server.url) as client:
        return int(client.zcard(NAME))


async def test_no_more_are_held_than_there_are_over_all_gateways(
    redis_server: RedisServer,
) -> None:
    async with (
        slots(redis_server) as one,
        slots(redis_server) as other,
        one.hold(NAME, SUBJECT, 2, 60),
        other.hold(NAME, SUBJECT, 2, 60),
    ):
        for each in (one, other):
            with pytest.raises(QuotaExceeded) as refused:
                async with each.hold(NAME, SUBJECT, 2, 60):
                    pass
            assert "key:a may have 2 requests in flight" in refused.value.message
            assert refused.value.quotas[0].policy == "concurrency"
            assert refused.value.retry_delay_s
    assert held(redis_server) == 0  # closing waits for the releases


async def test_a_slot_comes_back_whatever_happens_inside(redis_server: RedisServer) -> None:
    async with slots(redis_server) as opened:
        with pytest.raises(ZeroDivisionError):
            async with opened.hold(NAME, SUBJECT, 1, 60):
                raise ZeroDivisionError

        async def work() -> None:
            async with opened.hold(NAME, SUBJECT, 1, 60):
                await asyncio.Event().wait()

        while True:  # the release is on its way
            task = asyncio.create_task(work())
            await asyncio.wait([task], timeout=0.1)
            if not task.done():
                break
            assert isinstance(task.exception(), QuotaExceeded)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert held(redis_server) == 0


async def test_the_slots_of_a_gateway_that_died_come_back(redis_server: RedisServer) -> None:
    dead = AsyncExitStack()
    async with slots(redis_server) as opened:
        await dead.enter_async_context(opened.hold(NAME, SUBJECT, 1, lease_s=0.2))
        with pytest.raises(QuotaExceeded):
            async with opened.hold(NAME, SUBJECT, 1, 60):
                pass
        await asyncio.sleep(0.25)
        async with opened.hold(NAME, SUBJECT, 1, 60):
            pass
        await dead.aclose()


async def test_a_set_of_slots_does_not_outlive_its_leases(redis_server: RedisServer) -> None:
    async with (
        slots(redis_server) as opened,
        opened.hold(NAME, SUBJECT, 5, lease_s=60),
        opened.hold(NAME, SUBJECT, 5, 1),
    ):
        with Redis.from_url(redis_server.url) as client:
            assert 59_000 < client.pttl(NAME) <= 60_000


async def test_without_redis_each_gateway_holds_its_part(redis_server: RedisServer) -> None:
    async with slots(redis_server, replicas=2) as opened:
        redis_server.kill()
        async with opened.hold(NAME, SUBJECT, 4, 60), opened.hold(NAME, SUBJECT, 4, 60):
            with pytest.raises(QuotaExceeded):
                async with opened.hold(NAME, SUBJECT, 4, 60):
                    pass
        async with opened.hold(NAME, SUBJECT, 4, 60):
            pass


async def test_a_release_that_redis_does_not_hear_of_is_survived(
    redis_server: RedisServer,
) -> None:
    async with slots(redis_server) as opened, opened.hold(NAME, SUBJECT, 1, lease_s=60):
        redis_server.kill()
    redis_server.start()
    until(lambda: redis_server.up, "the return of Redis")
