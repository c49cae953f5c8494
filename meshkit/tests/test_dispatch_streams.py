"""Both ends of the stream of streams."""

import asyncio
import contextlib
import random
import weakref
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, cast

import grpc
import pytest

from conftest import uncollected, until
from mesh.dispatch.v1 import dispatch_pb2
from meshkit import context, deadline
from meshkit.context import RequestContext
from meshkit.deadline import Deadline
from meshkit.dispatch_ends import CONNECTION_LOST, DRAINING
from meshkit.dispatch_streams import DispatchStreams
from meshkit.errors import (
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    MeshError,
    Overloaded,
    PayloadTooLarge,
    Unavailable,
    Unimplemented,
)
from meshkit.interceptors import Call, intercepted
from meshkit.stream_sessions import PIECE_BYTES, WINDOW_BYTES, StreamSessions

COUNT = "test.v1.Test/Count"
MAX_CALLS = 200
MAX_MESSAGE_BYTES = 1024 * 1024
PATIENCE_S = 30


@dataclass
class Counter:
    """Counts, and does what it is asked for; knows what it has done."""

    open: int = 0
    made: int = 0
    cancelled: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def count(self, call: Call, payload: bytes) -> None:
        assert call.write is not None
        self.open += 1
        try:
            number, _, then = payload.decode().partition(" ")
            for each in range(int(number)):
                await call.write(str(each).encode())
                self.made += 1
            await self._then(call, then)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.open -= 1
            self.ended.set()

    async def _then(self, call: Call, then: str) -> None:
        assert call.write is not None
        match then:
            case "wait":
                await asyncio.Event().wait()
            case "refuse":
                raise InvalidArgument.of_field("number", "is refused; send another")
            case "fault":
                raise ZeroDivisionError("a secret")
            case "large":
                await call.write(b"x" * (4 * MAX_MESSAGE_BYTES))
            case "for ever":
                while True:
                    await call.write(b"x" * 1000)
                    self.made += 1
            case "who":
                await call.write(repr(context.current()).encode())


class Replica:
    """A server with one method, and a caller."""

    def __init__(self) -> None:
        self.counter = Counter()
        self.sessions = StreamSessions(
            {COUNT: intercepted(self.counter.count)}, MAX_CALLS, MAX_MESSAGE_BYTES
        )
        self.server = grpc.aio.server()
        handler = grpc.stream_stream_rpc_method_handler(
            cast(Any, self.sessions.serve),
            request_deserializer=dispatch_pb2.StreamRequest.FromString,
            response_serializer=dispatch_pb2.StreamResponse.SerializeToString,
        )
        service = "mesh.dispatch.v1.DispatchService"
        generic = grpc.method_handlers_generic_handler(service, {"Stream": handler})
        self.server.add_generic_rpc_handlers((generic,))
        port = self.server.add_insecure_port("127.0.0.1:0")
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        self.streams = DispatchStreams(self.channel)

    def batches(
        self, wish: str, timeout_s: float = PATIENCE_S
    ) -> AsyncGenerator[list[bytes], None]:
        return self.streams.batches(COUNT, wish.encode(), {}, Deadline.after(timeout_s))

    async def said(self, wish: str, timeout_s: float = PATIENCE_S) -> list[str]:
        async with aclosing(self.batches(wish, timeout_s)) as batches:
            return [message.decode() async for batch in batches for message in batch]

    async def at_rest(self) -> None:
        """Returns once nothing is open."""
        await until(lambda: self.counter.open == 0, PATIENCE_S)


@pytest.fixture
async def replica() -> AsyncIterator[Replica]:
    started = Replica()
    await started.server.start()
    yield started
    await started.streams.close()
    await started.channel.close()
    await started.server.stop(None)


def numbers(count: int) -> list[str]:
    return [str(each) for each in range(count)]


async def test_many_answers_grow_side_by_side_each_in_its_order(replica: Replica) -> None:
    answers = await asyncio.gather(*(replica.said(f"{count}") for count in range(100)))
    assert answers == [numbers(count) for count in range(100)]


async def test_an_answer_longer_than_its_window(replica: Replica) -> None:
    count = 3 * WINDOW_BYTES // PIECE_BYTES
    assert await replica.said(str(count)) == numbers(count)


async def test_messages_come_when_they_are_made(replica: Replica) -> None:
    async with aclosing(replica.batches("2 wait")) as batches:
        got: list[bytes] = []
        async with asyncio.timeout(PATIENCE_S):
            while len(got) < 2:
                got += await anext(batches)
        assert got == [b"0", b"1"]


async def test_a_slow_reader_holds_back_its_own_answer_alone(replica: Replica) -> None:
    made: list[int] = []

    def stands_still() -> bool:
        made.append(replica.counter.made)
        return len(made) > 20 and len(set(made[-20:])) == 1

    async with aclosing(replica.batches("0 for ever")) as slow:
        taken = len(await anext(slow))
        await until(stands_still, PATIENCE_S)
        # Its window, what was taken of it before, and the one message that may overdraw it.
        assert made[-1] <= WINDOW_BYTES // 1000 + taken + 2
        assert await replica.said("50") == numbers(50)
        async with asyncio.timeout(PATIENCE_S):
            while taken < 10 * made[-1]:
                taken += len(await anext(slow))
    await replica.at_rest()


async def test_a_caller_that_leaves_cancels_its_call_and_no_other(replica: Replica) -> None:
    staying = asyncio.create_task(replica.said("1 wait"))
    async with aclosing(replica.batches("1 wait")) as leaving:
        assert await anext(leaving) == [b"0"]
    await until(lambda: replica.counter.cancelled == 1, PATIENCE_S)
    assert (replica.counter.open, staying.done()) == (1, False)
    staying.cancel()
    await asyncio.gather(staying, return_exceptions=True)
    await replica.at_rest()


async def test_a_deadline_ends_the_call_at_both_ends(replica: Replica) -> None:
    with pytest.raises(DeadlineExceeded, match="allow more time"):
        await replica.said("1 wait", timeout_s=0.3)
    await replica.at_rest()
    assert replica.counter.cancelled == 1


@pytest.mark.parametrize(
    ("wish", "error_type", "message"),
    [
        ("0 refuse", InvalidArgument, "number is refused; send another"),
        ("0 fault", Internal, "internal error"),
        ("3 fault", Internal, "internal error"),
        ("1 large", PayloadTooLarge, "ask for less at a time"),
    ],
)
async def test_an_error_arrives_as_it_was_raised_behind_what_came_before(
    replica: Replica, wish: str, error_type: type[MeshError], message: str
) -> None:
    neighbour = asyncio.create_task(replica.said("1000"))
    got: list[bytes] = []

    async def read() -> None:
        async with aclosing(replica.batches(wish)) as batches:
            async for batch in batches:
                got.extend(batch)

    with pytest.raises(error_type, match=message):
        await read()
    assert len(got) == int(wish.partition(" ")[0])
    assert await neighbour == numbers(1000)


async def test_a_call_that_failed_is_freed_without_the_collector(replica: Replica) -> None:
    read: list[weakref.ref[asyncio.Event]] = []

    async def reading() -> None:
        with_it = asyncio.Event()
        read.append(weakref.ref(with_it))
        await replica.said("2 fault")

    with uncollected():
        with contextlib.suppress(Internal):
            await reading()
        assert read[0]() is None


async def test_a_method_that_is_not_served(replica: Replica) -> None:
    batches = replica.streams.batches("test.v1.Test/None", b"", {}, Deadline.after(PATIENCE_S))
    with pytest.raises(Unimplemented, match="is not served here"):
        await anext(batches)


async def test_the_request_is_known_at_the_other_end(replica: Replica) -> None:
    with context.scope(RequestContext("r-1", "k-1", "M\u00fcller", 0)):
        metadata = context.to_metadata()
    batches = replica.streams.batches(COUNT, b"0 who", metadata, Deadline.after(PATIENCE_S))
    assert await anext(batches) == [repr(RequestContext("r-1", "k-1", "M\u00fcller", 1)).encode()]
    await batches.aclose()


async def test_more_calls_than_the_replica_takes(replica: Replica) -> None:
    waiting = [asyncio.create_task(replica.said("0 wait")) for _ in range(MAX_CALLS)]
    await until(lambda: replica.counter.open == MAX_CALLS, PATIENCE_S)
    with pytest.raises(Overloaded, match="200 calls are in flight"):
        await replica.said("1")
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await replica.at_rest()
    assert await replica.said("1") == ["0"]


async def test_a_replica_that_drains_finishes_what_it_has_and_refuses_more(
    replica: Replica,
) -> None:
    async with aclosing(replica.batches("1 wait", timeout_s=2)) as running:
        assert await anext(running) == [b"0"]
        replica.sessions.drain()
        with pytest.raises(Unavailable) as refused:
            await replica.said("1")
        assert refused.value.reason == DRAINING
        with pytest.raises(DeadlineExceeded):
            await anext(running)
    with pytest.raises(Unavailable) as refused:
        await replica.said("1")
    assert refused.value.reason == DRAINING


async def test_a_connection_that_is_lost(replica: Replica) -> None:
    async with aclosing(replica.batches("1 wait")) as batches:
        assert await anext(batches) == [b"0"]
        await replica.server.stop(None)
        with pytest.raises(Unavailable) as lost:
            await anext(batches)
    assert lost.value.reason in {CONNECTION_LOST, DRAINING}


async def test_closing_ends_what_is_open(replica: Replica) -> None:
    reading = asyncio.create_task(replica.said("0 wait"))
    await until(lambda: replica.counter.open == 1, PATIENCE_S)
    await replica.streams.close()
    with pytest.raises(Unavailable, match="the connection to the replica ended"):
        await reading
    await replica.at_rest()


async def test_callers_that_leave_at_random_leave_nothing(replica: Replica) -> None:
    chance = random.Random(7)
    wishes = ("0", "30", "5 wait", "0 for ever", "2 fault", "0 refuse")

    async def call() -> None:
        await asyncio.sleep(chance.uniform(0, 0.2))
        with contextlib.suppress(TimeoutError, MeshError):
            async with asyncio.timeout(chance.uniform(0, 0.2)):
                await replica.said(chance.choice(wishes))

    await asyncio.gather(*(call() for _ in range(150)))
    await replica.at_rest()
    assert await replica.said("3") == ["0", "1", "2"]
    streams = replica.streams
    assert (streams._readings, streams._calls, streams._rooms) == ({}, {}, {})


async def test_a_deadline_that_has_passed_is_refused(replica: Replica) -> None:
    with deadline.scope(Deadline.after(PATIENCE_S)), pytest.raises(DeadlineExceeded):
        await replica.said("0 wait", timeout_s=-1)
