"""Answers that are streams, over gRPC, from a service that counts."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from counter_contract import COUNT, Count, CountRequest
from counter_mesh import CounterMesh
from processes import PATIENCE_S, until


@pytest.fixture
async def channel(counter_mesh: CounterMesh) -> AsyncIterator[grpc.aio.Channel]:
    async with opened(counter_mesh) as channel:
        yield channel


def opened(mesh: CounterMesh) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(mesh.gateway.address)


def count(
    mesh: CounterMesh, channel: grpc.aio.Channel, wish: str, *, timeout_s: float = PATIENCE_S
) -> Any:
    """A call, begun."""
    method: Any = channel.unary_stream(f"/{COUNT}", response_deserializer=Count.FromString)
    metadata = (("authorization", f"Bearer {mesh.key.text}"), ("x-mesh-tenant", "another"))
    request = CountRequest(wish=wish).SerializeToString()
    return method(request, timeout=timeout_s, metadata=metadata)


async def read(call: Any) -> tuple[list[str], grpc.aio.AioRpcError | None]:
    """What the messages said, and the error that ended them."""
    said: list[str] = []
    try:
        while (message := await call.read()) is not grpc.aio.EOF:
            said.append(message.said)
    except grpc.aio.AioRpcError as error:
        return said, error
    return said, None


async def eventually(condition: Callable[[], bool], what: str) -> None:
    await asyncio.to_thread(until, condition, what)


async def test_messages_come_in_order(counter_mesh: CounterMesh, channel: grpc.aio.Channel) -> None:
    call = count(counter_mesh, channel, "5")
    assert await read(call) == (["0", "1", "2", "3", "4", "end"], None)
    trailing = dict(await call.trailing_metadata())
    assert trailing["ratelimit"].startswith('"')
    await eventually(counter_mesh.at_rest, "rest")


async def test_the_service_learns_who_asks(
    counter_mesh: CounterMesh, channel: grpc.aio.Channel
) -> None:
    said, _ = await read(count(counter_mesh, channel, "who"))
    assert said == [f"{counter_mesh.key.id} shop", "end"]


@pytest.mark.parametrize(
    ("wish", "before", "code", "words"),
    [
        ("refuse", [], "INVALID_ARGUMENT", "wish is refused; wish for something else"),
        ("2 fault", ["0", "1"], "INTERNAL", ""),
        ("5000000 bytes", [], "RESOURCE_EXHAUSTED", "MESH_MAX_MESSAGE_BYTES"),
        ("9000000 bytes", [], "RESOURCE_EXHAUSTED", ""),
    ],
)
async def test_an_error_ends_a_stream(
    counter_mesh: CounterMesh,
    channel: grpc.aio.Channel,
    wish: str,
    before: list[str],
    code: str,
    words: str,
) -> None:
    said, error = await read(count(counter_mesh, channel, wish))
    assert error
    assert (said, error.code().name) == (before, code)
    details = error.details() or ""
    assert words in details
    assert "secret" not in details
    assert "ZeroDivisionError" not in details
    await eventually(counter_mesh.at_rest, "rest")


async def test_a_deadline_ends_a_stream(
    counter_mesh: CounterMesh, channel: grpc.aio.Channel
) -> None:
    said, error = await read(count(counter_mesh, channel, "1 wait", timeout_s=1.5))
    assert error
    assert (said, error.code()) == (["0"], grpc.StatusCode.DEADLINE_EXCEEDED)
    await eventually(counter_mesh.at_rest, "rest")


async def test_a_caller_that_leaves_ends_the_work(
    counter_mesh: CounterMesh, channel: grpc.aio.Channel
) -> None:
    call = count(counter_mesh, channel, "1 wait")
    assert (await call.read()).said == "0"
    assert counter_mesh.counter.counts()["open"] == 1
    call.cancel()
    await eventually(counter_mesh.at_rest, "rest after the caller has left")


async def test_a_caller_that_does_not_read_holds_its_own_stream_back(
    counter_mesh: CounterMesh, channel: grpc.aio.Channel
) -> None:
    made = counter_mesh.counter.counts().get("made", 0)
    call = count(counter_mesh, channel, "for ever")
    assert len((await call.read()).said) == 100_000
    await eventually(counter_mesh.stands_still, "the stream's standstill")
    held = counter_mesh.counter.counts()["made"] - made
    # What the flow control windows hold, of 100 kB each; not a stream for ever.
    assert held < 500
    async with opened(counter_mesh) as another:
        assert await read(count(counter_mesh, another, "1")) == (["0", "end"], None)
    for _ in range(2 * held):
        assert (await call.read()).said
    assert counter_mesh.counter.counts()["made"] - made > held
    call.cancel()
    await eventually(counter_mesh.at_rest, "rest")


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CounterMesh]:
    """A mesh whose streams may not pause."""
    folder = tmp_path_factory.mktemp("hasty")
    with CounterMesh(folder, MESH_GATEWAY_STREAM_IDLE_TIMEOUT_S=0.5) as started:
        yield started


async def test_a_service_that_falls_silent_ends_the_stream(hasty: CounterMesh) -> None:
    async with opened(hasty) as channel:
        said, error = await read(count(hasty, channel, "1 wait"))
    assert error
    assert (said, error.code()) == (["0"], grpc.StatusCode.DEADLINE_EXCEEDED)
    assert "the service has sent nothing for 0.5 s" in (error.details() or "")
    await eventually(hasty.at_rest, "rest")


async def test_a_caller_that_never_reads_is_let_go(hasty: CounterMesh) -> None:
    async with opened(hasty) as channel:
        call = count(hasty, channel, "for ever")
        await call.read()
        await eventually(hasty.at_rest, "rest, though the caller is still there")
        call.cancel()


async def test_many_callers_that_leave_at_random_leave_nothing(
    counter_mesh: CounterMesh, channel: grpc.aio.Channel
) -> None:
    chance = random.Random(5)
    wishes = ("0", "3", "2 wait", "1 fault", "refuse", "for ever")

    async def call() -> None:
        await asyncio.sleep(chance.uniform(0, 0.5))
        begun = count(counter_mesh, channel, chance.choice(wishes))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(chance.uniform(0, 0.5)):
                await read(begun)
        begun.cancel()

    await asyncio.gather(*[call() for _ in range(300)])
    await eventually(counter_mesh.at_rest, "rest")


async def test_a_service_killed_amid_a_stream(tmp_path: Path) -> None:
    with CounterMesh(tmp_path) as mesh:
        async with opened(mesh) as channel:
            call = count(mesh, channel, "1 wait")
            assert (await call.read()).said == "0"
            await asyncio.to_thread(mesh.counter.kill)
            said, error = await read(call)
            assert error
            assert (said, error.code()) == ([], grpc.StatusCode.UNAVAILABLE)
        await eventually(mesh.gateway.at_rest, "rest")
