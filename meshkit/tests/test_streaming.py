"""Answers that are streams: from a servicer's generator to the caller's loop."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from conftest import EchoSettings, until
from meshkit import context, deadline
from meshkit.client import Client
from meshkit.context import RequestContext
from meshkit.deadline import Deadline
from meshkit.errors import DeadlineExceeded, Internal, InvalidArgument, MeshError, Unavailable
from meshkit.server import GrpcServer, Service
from ports import free_port

COUNT = "test.Counter/Count"
LARGE = 100_000


class Counter:
    """Counts; the request says how far, or how it should behave."""

    def __init__(self) -> None:
        self.sent = 0
        self.open = 0
        self.go_on = asyncio.Event()

    async def count(
        self, request: StringValue, context_: object
    ) -> AsyncGenerator[StringValue, None]:
        self.open += 1
        try:
            if request.value == "who":
                asker = context.current()
                raise InvalidArgument(repr(asker))
            if request.value == "fault":
                yield StringValue(value="0")
                raise ZeroDivisionError("a secret of the implementation")
            if request.value == "wait":
                yield StringValue(value="0")
                await self.go_on.wait()
                return
            if request.value == "for ever":
                while True:
                    self.sent += 1
                    yield StringValue(value="x" * LARGE)
            for number in range(int(request.value)):
                yield StringValue(value=str(number))
        finally:
            self.open -= 1


def add_to_server(servicer: Counter, server: Any) -> None:
    """What generated code would do."""
    handler = grpc.unary_stream_rpc_method_handler(
        servicer.count,
        request_deserializer=StringValue.FromString,
        response_serializer=StringValue.SerializeToString,
    )
    server.add_registered_method_handlers("test.Counter", {"Count": handler})


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Counter, str, GrpcServer]]:
    counter, port = Counter(), free_port()
    chosen: dict[str, Any] = {"grpc_port": port, "admin_port": free_port()}
    server = GrpcServer(EchoSettings(**chosen), [Service(add_to_server, counter)])
    await server.start()
    yield counter, f"127.0.0.1:{port}", server
    await server.stop(0)


@pytest.fixture
async def counter() -> AsyncIterator[tuple[Counter, Client]]:
    async with (
        serving() as (servicer, address, _),
        Client("counter", address, max_message_bytes=2**20) as client,
    ):
        await until(lambda: client.serving)
        yield servicer, client


def count(client: Client, wish: str) -> AsyncGenerator[bytes, None]:
    return client.stream(COUNT, StringValue(value=wish).SerializeToString())


async def numbers(client: Client, wish: str, timeout_s: float = 10) -> list[int]:
    with deadline.scope(Deadline.after(timeout_s)):
        return [int(StringValue.FromString(each).value) async for each in count(client, wish)]


async def test_every_message_arrives_in_order(counter: tuple[Counter, Client]) -> None:
    servicer, client = counter
    assert await numbers(client, "300") == list(range(300))
    assert servicer.open == 0
    assert client.endpoints.all[0].outstanding == 0


async def test_the_caller_is_known_and_errors_arrive_whole(counter: tuple[Counter, Client]) -> None:
    _, client = counter
    with (
        context.scope(RequestContext("r-1", "k-1", "shop")),
        pytest.raises(InvalidArgument) as told,
    ):
        await numbers(client, "who")
    assert "request_id='r-1', key_id='k-1', tenant='shop', hops=1" in told.value.message


async def test_a_fault_in_the_middle_comes_after_what_was_sent(
    counter: tuple[Counter, Client],
) -> None:
    _, client = counter
    with deadline.scope(Deadline.after(10)):
        messages = count(client, "fault")
        assert StringValue.FromString(await anext(messages)).value == "0"
        with pytest.raises(Internal) as fault:
            await anext(messages)
    assert "secret" not in fault.value.message


async def test_a_caller_that_leaves_closes_the_generator(counter: tuple[Counter, Client]) -> None:
    servicer, client = counter
    with deadline.scope(Deadline.after(10)):
        async with aclosing(count(client, "wait")) as messages:
            await anext(messages)
            assert servicer.open == 1
    await until(lambda: servicer.open == 0)
    assert client.endpoints.all[0].outstanding == 0


async def test_a_caller_that_is_cancelled_closes_the_generator(
    counter: tuple[Counter, Client],
) -> None:
    servicer, client = counter
    task = asyncio.create_task(numbers(client, "wait"))
    await until(lambda: servicer.open == 1)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await until(lambda: servicer.open == 0)


async def test_a_caller_that_reads_slowly_slows_its_stream(counter: tuple[Counter, Client]) -> None:
    servicer, client = counter
    with deadline.scope(Deadline.after(10)):
        async with aclosing(count(client, "for ever")) as messages:
            await anext(messages)
            sent = 0
            while sent != servicer.sent:  # until it stands still
                sent = servicer.sent
                await asyncio.sleep(0.2)
            assert sent * LARGE < 64 * 2**20
            assert await numbers(client, "3") == [0, 1, 2]  # and nobody else's


async def test_a_stream_ends_at_its_deadline(counter: tuple[Counter, Client]) -> None:
    servicer, client = counter
    with pytest.raises(DeadlineExceeded):
        await numbers(client, "wait", timeout_s=0.3)
    await until(lambda: servicer.open == 0)


async def test_a_stock_client_sees_status_and_messages(counter: tuple[Counter, Client]) -> None:
    _, client = counter
    address = client.endpoints.all[0].address
    async with grpc.aio.insecure_channel(address) as channel:
        ask: Any = channel.unary_stream(f"/{COUNT}")
        call = ask(StringValue(value="2").SerializeToString(), timeout=10)
        assert [StringValue.FromString(each).value async for each in call] == ["0", "1"]
        call = ask(b"\xff", timeout=10)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call.read()
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        call = ask(StringValue(value="2").SerializeToString())
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call.read()
        assert "no deadline" in str(refused.value.details())


async def test_a_stop_waits_for_a_stream_in_flight() -> None:
    async with (
        serving() as (servicer, address, server),
        Client("counter", address, max_message_bytes=2**20) as client,
    ):
        await until(lambda: client.serving)
        task = asyncio.create_task(numbers(client, "wait"))
        await until(lambda: servicer.open == 1)
        stopping = asyncio.create_task(server.stop(30))
        await until(lambda: not client.serving)
        assert not stopping.done()
        servicer.go_on.set()
        assert await task == [0]
        async with asyncio.timeout(10):
            await stopping


async def test_without_a_replica_there_is_no_stream() -> None:
    async with Client("counter", f"127.0.0.1:{free_port()}", max_message_bytes=2**20) as client:
        with pytest.raises(Unavailable):
            await numbers(client, "1")


async def test_a_stream_needs_a_deadline(counter: tuple[Counter, Client]) -> None:
    _, client = counter
    with pytest.raises(MeshError, match="needs a deadline"):
        await anext(count(client, "1"))


async def test_a_stream_that_never_began_goes_to_another_replica() -> None:
    async with (
        serving() as (leaving, one, server),
        serving() as (staying, other, _),
        Client("counter", f"{one},{other}", max_message_bytes=2**20) as client,
    ):
        await until(lambda: all(each.serving for each in client.endpoints.all))
        # It refuses, and its health does not say so yet.
        server._stream_sessions.drain()
        for _ in range(10):
            assert await numbers(client, "3") == [0, 1, 2]
    assert (leaving.open, staying.open) == (0, 0)


@pytest.mark.parametrize("digits", [1, 300_000], ids=["shared", "of its own"])
async def test_a_request_of_any_size(counter: tuple[Counter, Client], digits: int) -> None:
    """A large one is a call of its own, with its own error."""
    _, client = counter
    with pytest.raises(Internal):
        await numbers(client, "x" * digits)
