"""A caller that leaves frees the engine, however it leaves and whatever it asked for."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
import pytest

from engine_service import CALL_S, EngineService
from mesh.llm.v1 import llm_pb2, llm_pb2_grpc
from meshkit import deadline
from meshkit.client import Client
from meshkit.deadline import Deadline
from meshkit.errors import Unavailable
from serving import refused, request

pytestmark = pytest.mark.full
TOKENS: Final = "vllm:generation_tokens_total"
LONG = llm_pb2.Sampling(temperature=0, max_tokens=1500, ignore_eos=True)
GONE_TOKENS: Final = 100
"""Most that the engine makes for callers who have left: to the end there are a thousand or more."""
ABORTED: Final = 1000
AT_ONCE: Final = 8
GROWTH_BYTES: Final = 48 * 1024**2
"""Most that a thousand requests may leave in memory: what allocators keep for the next ones."""
ENDS: Final = {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
"""How a request with too little time ends; many that leave at once may fill the queue."""


def story(number: int, **fields: Any) -> llm_pb2.ChatRequest:
    return request(f"Tell me story {number}.", sampling=LONG, **fields)


def running(service: EngineService) -> float:
    return service.metric("vllm:num_requests_running")


async def begins(call: Any) -> Any:
    """Waits until an answer has begun."""
    await anext(aiter(call))
    return call


async def is_rid_of_it(service: EngineService) -> None:
    """Waits until nothing runs any more; then nothing is held either."""
    await service.at_rest("vllm:num_requests_running", 0)
    assert service.metric("vllm:kv_cache_usage_perc") == 0
    assert service.metric("mesh_requests_in_flight") == 0


@asynccontextmanager
async def relay(port: int) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """A way to a port of this machine, and what cuts it off."""
    writers: list[asyncio.StreamWriter] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            return

    async def relayed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        writers.extend((writer, there_writer))
        await asyncio.gather(copy(reader, there_writer), copy(there_reader, writer))

    def cut() -> None:
        for writer in writers:
            writer.transport.abort()

    server = await asyncio.start_server(relayed, "127.0.0.1", 0)
    async with server:
        address = server.sockets[0].getsockname()
        yield f"{address[0]}:{address[1]}", cut
        cut()


async def cancels(stub: Any, service: EngineService) -> None:
    call = await begins(stub.Chat(story(1), timeout=CALL_S))
    assert running(service) == 1
    call.cancel()


async def reads_all_and_leaves(stub: Any, service: EngineService) -> None:
    """What a gateway does for a caller who wants the whole answer at once."""
    call = stub.Chat(story(2), timeout=CALL_S)

    reading = asyncio.create_task(rest(call))
    await service.at_rest("vllm:num_requests_running", 1)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


async def leaves_a_completion(stub: Any, service: EngineService) -> None:
    asked = llm_pb2.CompleteRequest(text="Once upon", sampling=LONG)
    call = await begins(stub.Complete(asked, timeout=CALL_S))
    call.cancel()


async def leaves_several_choices(stub: Any, service: EngineService) -> None:
    sampling = llm_pb2.Sampling(n=3, max_tokens=1000, ignore_eos=True)
    call = await begins(stub.Chat(request("Tell me.", sampling=sampling), timeout=CALL_S))
    await service.at_rest("vllm:num_requests_running", 3)
    call.cancel()


async def leaves_a_form(stub: Any, service: EngineService) -> None:
    form = llm_pb2.StructuredOutput(regex="[a-z ]{1000}")
    call = await begins(stub.Chat(story(3, structured_output=form), timeout=CALL_S))
    call.cancel()


async def has_no_time(stub: Any, service: EngineService) -> None:
    error = await refused(stub.Chat(story(4), timeout=1.5))
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED


async def is_cut_off(stub: Any, service: EngineService) -> None:
    async with (
        relay(service.grpc_port) as (target, cut),
        grpc.aio.insecure_channel(target) as channel,
    ):
        far: Any = llm_pb2_grpc.LlmServiceStub(channel)
        call = await begins(far.Chat(story(5), timeout=CALL_S))
        assert running(service) == 1
        cut()
        assert (await refused(call)).code() == grpc.StatusCode.UNAVAILABLE


async def leaves_a_shared_stream(stub: Any, service: EngineService) -> None:
    """As a gateway does, whose calls to a replica share one stream: the others go on."""
    async with Client("llm", service.target, max_message_bytes=2**20) as client:
        shared: Any = client.stub(llm_pb2_grpc.LlmServiceStub)
        with deadline.scope(Deadline.after(CALL_S)):
            one, other = shared.Chat(story(6)), shared.Chat(story(7))
            await anext(one)
            await anext(other)
            assert running(service) == 2
            await one.aclose()
            await service.at_rest("vllm:num_requests_running", 1)
            await anext(other)
            await other.aclose()


async def takes_its_shared_stream_along(stub: Any, service: EngineService) -> None:
    """As a gateway does that is killed."""
    async with (
        relay(service.grpc_port) as (target, cut),
        Client("llm", target, max_message_bytes=2**20) as client,
    ):
        shared: Any = client.stub(llm_pb2_grpc.LlmServiceStub)
        with deadline.scope(Deadline.after(CALL_S)):
            calls = [shared.Chat(story(8)), shared.Chat(story(9))]
            for call in calls:
                await anext(call)
            cut()
            for call in calls:
                with pytest.raises(Unavailable):
                    await rest(call)


async def rest(call: Any) -> None:
    async for _ in call:
        pass


@pytest.mark.parametrize(
    "leave",
    [
        *(cancels, reads_all_and_leaves, leaves_a_completion, leaves_several_choices),
        *(leaves_a_form, has_no_time, is_cut_off),
        *(leaves_a_shared_stream, takes_its_shared_stream_along),
    ],
)
async def test_the_engine_is_rid_of_it(
    stub: Any, service: EngineService, leave: Callable[[Any, EngineService], Awaitable[None]]
) -> None:
    await is_rid_of_it(service)
    await leave(stub, service)
    made = service.metric(TOKENS)
    await is_rid_of_it(service)
    assert service.metric(TOKENS) - made < GONE_TOKENS


async def test_who_leaves_the_queue_is_not_generated(stub: Any, service: EngineService) -> None:
    calls = [await begins(stub.Chat(story(number), timeout=CALL_S)) for number in range(8)]
    waiting = stub.Chat(story(99), timeout=CALL_S)
    await service.at_rest("vllm:num_requests_waiting", 1)
    waiting.cancel()
    await service.at_rest("vllm:num_requests_waiting", 0)
    assert running(service) == 8
    for call in calls:
        call.cancel()
    await is_rid_of_it(service)


async def test_a_thousand_that_leave_leave_nothing_behind(
    stub: Any, service: EngineService
) -> None:
    chance = random.Random(7)
    await leave_at_random(stub, chance, ABORTED // 5)
    await is_rid_of_it(service)
    before = service.memory_bytes()
    await leave_at_random(stub, chance, ABORTED)
    await is_rid_of_it(service)
    assert service.metric("vllm:num_requests_waiting") == 0
    assert service.memory_bytes() - before < GROWTH_BYTES


async def leave_at_random(stub: Any, chance: random.Random, many: int) -> None:
    """So many requests, some at once, each left at a random moment."""
    numbers = iter(range(many))

    async def caller() -> None:
        for number in numbers:
            form = llm_pb2.StructuredOutput(regex="[a-z ]{500}") if number % 7 == 0 else None
            sampling = llm_pb2.Sampling(n=1 + (number % 5 == 0), max_tokens=500, ignore_eos=True)
            asked = request(f"Story {number}.", sampling=sampling, structured_output=form)
            if number % 3 == 0:
                call = stub.Chat(asked, timeout=chance.uniform(0.001, 0.5))
                error = await refused(call)
                assert error.code() in ENDS, error
                continue
            call = stub.Chat(asked, timeout=CALL_S)
            await asyncio.sleep(chance.uniform(0, 0.3))  # a moment is what is tried here
            call.cancel()

    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
