"""Settling off the path of requests: bounded, and later where Redis is away."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal

import pytest
from redis import Redis

from meshkit import context, settling
from meshkit.accounts import Accounts, Machine
from meshkit.context import RequestContext
from meshkit.ledger import Ledger, Source
from meshkit.ledger_writer import LedgerWriter
from meshkit.prices import Price, Prices
from meshkit.reservations import Account, Kind, Reservations, Ticket, Used
from meshkit.settling import Settler
from redis_server import RedisServer

PRICE = Price(Decimal(1), Decimal(1), Decimal(1))
ACCOUNT = Account(Kind.TOKENS, "mesh:tokens:{t}:a", 1_000_000, 3.6e9)
PATIENCE_S = 20.0


@pytest.fixture
def server() -> Iterator[RedisServer]:
    redis = RedisServer()
    redis.start()
    yield redis
    with suppress(ProcessLookupError):
        redis.stop()


def ticket(number: int, amount: int = 100) -> Ticket:
    return Ticket("t", f"r{number}", ((ACCOUNT, amount),), PRICE)


@asynccontextmanager
async def running(settler: Settler) -> AsyncIterator[None]:
    task = asyncio.create_task(settler.run())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until_settled(settler: Settler, server: RedisServer, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while settler.waiting or charged(server) < count:  # noqa: ASYNC110  # nobody tells when
            await asyncio.sleep(0.01)


def charged(server: RedisServer) -> int:
    """How many reservations have a record of what they were settled to."""
    with Redis.from_url(server.url) as client:
        return sum(client.hexists(key, "tokens") for key in client.scan_iter("mesh:reservation:*"))


async def left(store: Reservations) -> int:
    return (await store.reserve(ticket(10**6, 0), 5)).levels[0].left


async def test_many_are_settled_together(server: RedisServer) -> None:
    async with Reservations(server.url, timeout_s=5) as store:
        settler = Settler(store, 1000)
        async with running(settler):
            for number in range(300):
                assert (await store.reserve(ticket(number), 600)).passed
                settler.add(ticket(number), Used(1, 2))
            await until_settled(settler, server, 300)
        assert await left(store) == 1_000_000 - 900


async def test_what_another_process_reserved_is_settled_by_its_name(server: RedisServer) -> None:
    async with Reservations(server.url, timeout_s=5) as store:
        await store.reserve(ticket(1), 600)
        settler = Settler(store, 1000)
        async with running(settler):
            settler.add(("t", "unknown"), Used(500, 500))
            settler.add(("t", "r1"), Used(3, 4))
            await until_settled(settler, server, 1)
        assert await left(store) == 1_000_000 - 7


async def test_what_redis_does_not_hear_is_settled_when_it_is_back(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "RETRY_EVERY_S", 0.05)
    async with Reservations(server.url, timeout_s=0.5) as store:
        settler = Settler(store, 1000)
        async with running(settler):
            server.stop()
            for number in range(50):
                settler.add(ticket(number), Used(1, 1))
            assert settler.waiting
            server.start()
            await until_settled(settler, server, 50)
        assert await left(store) == 1_000_000 - 100


async def test_what_waits_is_bounded_and_the_oldest_goes(server: RedisServer) -> None:
    async with Reservations(server.url, timeout_s=5) as store:
        settler = Settler(store, 10)
        for number in range(15):
            settler.add(ticket(number), Used(1, 0))
        assert settler.waiting == 10
        async with running(settler):
            await until_settled(settler, server, 10)
        assert await left(store) == 1_000_000 - 10


async def test_the_last_ones_are_settled_at_the_end(server: RedisServer) -> None:
    async with Reservations(server.url, timeout_s=5) as store:
        settler = Settler(store, 10)
        async with running(settler):
            settler.add(ticket(1), Used(5, 0))
        assert charged(server) == 1


async def test_a_service_settles_what_the_gateway_has_reserved(server: RedisServer) -> None:
    """Whatever becomes of the gateway; but not for what the request asks of others on its way."""
    async with (
        Reservations(server.url, timeout_s=5) as store,
        Ledger(server.url) as ledger,
    ):
        await store.reserve(ticket(1), 600)
        writer = LedgerWriter(ledger, "llm", "http://127.0.0.1:1/metrics")
        settler = Settler(store, 10)
        kept = Accounts(writer, settler, Prices.load(None), Source.LOCAL, Machine(cpus=2))
        asked = RequestContext("id", "a1", "t", hops=1, reservation="r1")
        with context.scope(asked), suppress(ZeroDivisionError), kept.request("llm") as account:
            account.used(10, 1)
            account.used(10, 5, 4)
            raise ZeroDivisionError
        further = RequestContext("id", "a1", "t", hops=2, reservation="r1")
        with context.scope(further), kept.request("llm") as account:
            account.used(1000, 1000)
        async with running(settler):
            await until_settled(settler, server, 1)
        assert await left(store) == 1_000_000 - 15
        ((row, usage),) = writer._rows.items()
        assert (row.tenant, row.key_id, row.model, row.source) == ("t", "a1", "llm", "local")
        assert (usage.requests, usage.prompt_tokens, usage.cached_tokens) == (2, 1010, 4)
        assert usage.charged_nanos == 1006 * 20 + 4 * 10 + 1005 * 60


async def test_without_a_redis_there_is_no_ledger() -> None:
    kept = Accounts(None, None, Prices.load(None))
    with kept.request("llm") as account:
        account.used(1, 1)
