"""What each request uses is written into the ledger, whatever becomes of it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from meshkit import ledger_writer
from meshkit.ledger import Ledger, Row, Source, Usage
from redis_server import RedisServer
from serving import TIMEOUT_S, Serving, refused, request, said, serve
from support import PATIENCE_S
from upstream import STREAM_HEAD, Exchange, Upstream, answer, content, event, refuse, usage

HELLO = (content("Hel"), content("lo"), content("", reason="stop"), usage(7, 2))
CALLER = (("x-mesh-key-id", "a1"), ("x-mesh-tenant", "shop"), ("x-mesh-hops", "1"))


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def ledger(redis: RedisServer) -> AsyncIterator[Ledger]:
    async with Ledger(redis.url, timeout_s=PATIENCE_S) as opened:
        async with opened.use() as client:
            await client.flushall()
        yield opened


@pytest.fixture
async def metered(upstream: Upstream, redis: RedisServer) -> AsyncIterator[Serving]:
    async with serve(upstream.url, redis_url=redis.url) as serving:
        yield serving


async def rows(ledger: Ledger, requests: int) -> dict[Row, Usage]:
    """The ledger, once it has so many requests."""
    today = datetime.now(UTC).date()
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = await ledger.read(today - timedelta(days=1), today)
            if sum(usage.requests for usage in found.values()) >= requests:
                return found
            await asyncio.sleep(0.02)


async def test_an_answer_is_written_down_for_its_caller(
    metered: Serving, upstream: Upstream, ledger: Ledger
) -> None:
    upstream.will(answer(HELLO), answer(HELLO))
    await said(metered.stub.Chat(request(), timeout=TIMEOUT_S, metadata=CALLER))
    await said(metered.stub.Chat(request(), timeout=TIMEOUT_S))
    found = await rows(ledger, 2)
    by_key = {(row.tenant, row.key_id, row.model, row.source): use for row, use in found.items()}
    assert set(by_key) == {
        ("shop", "a1", "llm", Source.REMOTE),
        ("-", "-", "llm", Source.REMOTE),
    }
    own = by_key["shop", "a1", "llm", Source.REMOTE]
    assert (own.requests, own.prompt_tokens, own.completion_tokens) == (1, 7, 2)
    assert own.charged_nanos == 7 * 20 + 2 * 60
    assert own.cpu_ms == 0  # it is computed elsewhere


async def test_what_breaks_off_or_is_left_is_written_down_as_far_as_it_came(
    metered: Serving, upstream: Upstream, ledger: Ledger
) -> None:
    async def hangs(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD)
        for text in ("a", "b", "c"):
            await exchange.chunk(event(content(text)))
        await exchange.left()

    upstream.will(answer(HELLO[:2], done=False), hangs, hangs, refuse(400, {}))
    await refused(metered.stub.Chat(request(), timeout=TIMEOUT_S, metadata=CALLER))
    left = metered.stub.Chat(request(), timeout=TIMEOUT_S, metadata=CALLER)
    async for message in left:
        if message.usage.completion_tokens == 3:
            break
    left.cancel()
    await refused(metered.stub.Chat(request(), timeout=1.0, metadata=CALLER))
    await refused(metered.stub.Chat(request(), timeout=TIMEOUT_S, metadata=CALLER))
    (usage_,) = (await rows(ledger, 4)).values()
    assert usage_.requests == 4
    # Until an upstream tells its own count, each of its chunks is a token.
    assert usage_.completion_tokens == 2 + 3 + 3


async def test_what_is_refused_before_it_begins_is_not_written_down(
    metered: Serving, upstream: Upstream, ledger: Ledger
) -> None:
    await refused(metered.stub.Chat(request(model="none"), timeout=TIMEOUT_S, metadata=CALLER))
    upstream.will(answer(HELLO))
    await said(metered.stub.Chat(request(), timeout=TIMEOUT_S, metadata=CALLER))
    (usage_,) = (await rows(ledger, 1)).values()
    assert usage_.requests == 1


async def test_a_process_that_ends_has_written_everything(
    upstream: Upstream, redis: RedisServer, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_writer, "WRITE_EVERY_S", PATIENCE_S)  # only the end writes
    async with serve(upstream.url, redis_url=redis.url) as serving:
        for _ in range(5):
            upstream.will(answer(HELLO))
            await said(serving.stub.Chat(request(), timeout=TIMEOUT_S, metadata=CALLER))
    (usage_,) = (await rows(ledger, 5)).values()
    assert usage_.requests == 5


async def test_a_redis_that_is_away_holds_nobody_up(upstream: Upstream) -> None:
    upstream.will(answer(HELLO))
    async with serve(upstream.url, redis_url="redis://127.0.0.1:9/0") as serving:
        messages = await said(serving.stub.Chat(request(), timeout=TIMEOUT_S, metadata=CALLER))
    assert messages[-1].usage.completion_tokens == 2
