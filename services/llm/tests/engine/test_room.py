"""There is room for so many: who is refused, who is first, and what happens when memory is out."""

import asyncio
from typing import Any, Final

import grpc
import pytest
from google.rpc import error_details_pb2

from engine_service import CALL_S, EngineService, gather
from mesh.llm.v1 import llm_pb2
from serving import details_of, refused, request

pytestmark = pytest.mark.full
RUNNING: Final = 8
ROOM: Final = 16
LONG = llm_pb2.Sampling(temperature=0, max_tokens=1500, ignore_eos=True)
SHORT = llm_pb2.Sampling(temperature=0, max_tokens=24, ignore_eos=True)


def by(key: str) -> tuple[tuple[str, str], ...]:
    return (("x-mesh-key-id", key),)


class Order:
    """In which order answers begin."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub
        self.begun: list[str] = []

    async def ask(self, name: str, key: str = "", **fields: Any) -> None:
        asked = request(f"Story {name}.", **{"sampling": SHORT, **fields})
        call = self._stub.Chat(asked, timeout=CALL_S, metadata=by(key))
        await gather(call, lambda _: self._saw(name))

    def _saw(self, name: str) -> None:
        if name not in self.begun:
            self.begun.append(name)


async def waiting(service: EngineService, number: int) -> None:
    await service.at_rest("vllm:num_requests_waiting", number)


async def test_beyond_the_room_requests_are_refused_with_a_time_to_come_back(
    stub: Any, service: EngineService
) -> None:
    calls = [stub.Chat(request(f"Story {n}.", sampling=LONG), timeout=CALL_S) for n in range(ROOM)]
    await service.at_rest("mesh_requests_in_flight", ROOM)
    error = await refused(stub.Chat(request("One more.", sampling=SHORT), timeout=CALL_S))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    (retry,) = [d for d in details_of(error) if isinstance(d, error_details_pb2.RetryInfo)]
    assert retry.retry_delay.ToMilliseconds() > 0
    # The engine has never heard of it.
    await service.at_rest("vllm:num_requests_running", RUNNING)
    await service.at_rest("vllm:num_requests_waiting", ROOM - RUNNING)
    for call in calls:
        call.cancel()
    await service.at_rest("mesh_requests_in_flight", 0)
    await service.at_rest("vllm:num_requests_running", 0)


async def test_a_key_of_many_lets_another_go_between(stub: Any, service: EngineService) -> None:
    order = Order(stub)
    async with asyncio.TaskGroup() as group:
        for number in range(14):
            group.create_task(order.ask(f"many {number}", "many"))
        await waiting(service, 14 - RUNNING)
        group.create_task(order.ask("one", "one"))
    assert len(order.begun) == 15
    # All that ran already were before it, and of those that waited at most one.
    assert order.begun.index("one") <= RUNNING + 1


async def test_a_lower_priority_number_is_served_first(stub: Any, service: EngineService) -> None:
    order = Order(stub)
    async with asyncio.TaskGroup() as group:
        for number in range(RUNNING):
            group.create_task(order.ask(f"running {number}"))
        await service.at_rest("vllm:num_requests_running", RUNNING)
        for priority in (5, 0, -5):
            group.create_task(order.ask(f"priority {priority}", priority=priority))
    late = [name for name in order.begun if name.startswith("priority")]
    assert late[0] == "priority -5"
    assert late[-1] == "priority 5"


async def test_out_of_memory_some_wait_and_all_are_answered(
    stub: Any, service: EngineService, model: llm_pb2.GetModelResponse
) -> None:
    before = service.metric("vllm:num_preemptions_total")
    # Together they fill the cache with their prompts, and then each wants more.
    words = model.max_context_tokens // RUNNING - 60
    sampling = llm_pb2.Sampling(temperature=0, max_tokens=160, ignore_eos=True)
    answers = await asyncio.gather(
        *(
            gather(
                stub.Chat(
                    request(f"{number} " + "word " * words, sampling=sampling), timeout=CALL_S
                )
            )
            for number in range(RUNNING)
        )
    )
    assert [answer.usage.completion_tokens for answer in answers] == [160] * RUNNING
    assert {answer.only.reason for answer in answers} == {"length"}
    assert service.metric("vllm:num_preemptions_total") > before
    await service.at_rest("vllm:kv_cache_usage_perc", 0)
