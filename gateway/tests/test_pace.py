"""How many requests begin at once, by the CPU that they are seen to take."""

import asyncio
import time

import pytest

from mesh_gateway import pace
from mesh_gateway.pace import Pace


class Cpu:
    """The CPU time of a thread, which passes when it is told to."""

    def __init__(self) -> None:
        self.spent_s = 0.0

    def thread_time(self) -> float:
        return self.spent_s


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> Cpu:
    spent = Cpu()
    monkeypatch.setattr(pace, "time", spent)
    return spent


async def begin(paced: Pace, requests: int, cpu: Cpu, each_s: float) -> int:
    """How many of so many requests were let in, where each of those takes so much CPU."""
    loop = asyncio.get_running_loop()
    admitted = sum(paced.admits(loop) for _ in range(requests))
    cpu.spent_s += admitted * each_s
    for _ in range(3):
        await asyncio.sleep(0)
    return admitted


async def test_requests_that_cost_little_have_no_bound(cpu: Cpu) -> None:
    paced = Pace()
    assert await begin(paced, 1000, cpu, 0.000001) == 1000
    assert await begin(paced, 1000, cpu, 0.000001) == 1000


async def test_what_begins_together_takes_thirty_milliseconds(cpu: Cpu) -> None:
    paced = Pace()
    assert await begin(paced, 1000, cpu, 0.0002) == 1000
    # By what one costs, 150 take as long.
    assert 149 <= await begin(paced, 1000, cpu, 0.0004) <= 150
    # They cost twice as much now. The bound grows while more come and it is kept.
    assert 74 <= await begin(paced, 1000, cpu, 0.0001) <= 75
    assert 75 < await begin(paced, 1000, cpu, 0.0001) <= 94


async def test_some_are_always_let_in(cpu: Cpu) -> None:
    paced = Pace()
    await begin(paced, 100, cpu, 1.0)
    assert await begin(paced, 100, cpu, 1.0) == 16
    assert await begin(paced, 100, cpu, 1.0) == 16


async def test_the_bound_goes_when_fewer_come(cpu: Cpu) -> None:
    paced = Pace()
    await begin(paced, 1000, cpu, 0.0002)
    assert await begin(paced, 10, cpu, 0.0002) == 10
    assert await begin(paced, 1000, cpu, 0.000001) == 1000


async def test_time_that_others_take_is_no_reason_to_refuse() -> None:
    paced, loop = Pace(), asyncio.get_running_loop()
    for _ in range(2):
        assert all(paced.admits(loop) for _ in range(100))
        time.sleep(0.1)  # noqa: ASYNC251  # the loop is late, and has used no CPU
        for _ in range(3):
            await asyncio.sleep(0)
