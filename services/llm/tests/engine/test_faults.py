"""The engine dies, hangs, or loses the service; the last of these ends the session's service."""

import asyncio
import signal
import time
from typing import Any

import grpc
import psutil
import pytest

from engine_service import CALL_S, START_S, EngineService, Start, gather
from mesh.llm.v1 import llm_pb2
from serving import refused, request

pytestmark = pytest.mark.full
LONG = llm_pb2.Sampling(temperature=0, max_tokens=1500, ignore_eos=True)


async def asked(stub: Any, number: int) -> Any:
    """A call whose answer has begun."""
    call = stub.Chat(request(f"Story {number}.", sampling=LONG), timeout=CALL_S)
    await anext(aiter(call))
    return call


async def answers(stub: Any) -> None:
    sampling = llm_pb2.Sampling(temperature=0, max_tokens=10)
    answer = await gather(
        stub.Chat(request("Say hello in French.", sampling=sampling), timeout=CALL_S)
    )
    assert "Bonjour" in answer.only.content


async def recovers(stub: Any, service: EngineService, restarts: float, calls: list[Any]) -> None:
    for call in calls:
        error = await refused(call)
        assert error.code() == grpc.StatusCode.UNAVAILABLE
        assert "the engine died" in (error.details() or "")
    await service.serves(False)
    error = await refused(stub.Chat(request("a"), timeout=CALL_S))
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    await service.serves(True)
    await answers(stub)
    assert service.metric("mesh_engine_restarts_total") == restarts
    assert service.metric("mesh_requests_in_flight") == 0


def test_a_start_can_be_broken_off_and_leaves_nothing(start: Start) -> None:
    service = start()
    deadline_s = time.monotonic() + START_S
    while not (processes := service.engine_processes()):
        assert service.process.poll() is None, service.log.read_text()
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    (sockets,) = service.log.parent.glob("mesh-llm-*")
    service.process.terminate()
    assert service.process.wait(CALL_S) == 0
    _, alive = psutil.wait_procs(processes, timeout=CALL_S)
    assert alive == []
    assert not sockets.exists()


async def test_a_killed_engine_is_started_anew(stub: Any, service: EngineService) -> None:
    calls = [await asked(stub, number) for number in range(3)]
    processes = service.engine_processes()
    assert len(processes) >= 2
    processes[0].send_signal(signal.SIGKILL)
    await recovers(stub, service, 1, calls)
    _, alive = psutil.wait_procs(processes, timeout=CALL_S)
    assert alive == []


async def test_a_hung_engine_is_started_anew(stub: Any, service: EngineService) -> None:
    call = await asked(stub, 0)
    processes = service.engine_processes()
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    await recovers(stub, service, 2, [call])
    _, alive = psutil.wait_procs(processes, timeout=CALL_S)
    assert alive == []


async def test_nothing_survives_a_killed_service(stub: Any, service: EngineService) -> None:
    await asked(stub, 0)
    processes = service.engine_processes()
    service.process.kill()
    await asyncio.to_thread(service.process.wait, START_S)
    _, alive = psutil.wait_procs(processes, timeout=CALL_S)
    assert alive == []
