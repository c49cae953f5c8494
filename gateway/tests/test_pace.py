"""How many requests begin in a turn of the loop, and which of the others may wait."""

import asyncio
import time
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_gateway import pace
from mesh_gateway.pace import Pace

IN_TURN = 48


class Cpu:
    """The CPU time of a thread, which passes when it is told to."""

    def __init__(self) -> None:
        self.spent_s = 0.0

    def thread_time(self) -> float:
        return self.spent_s

    async def turn(self, cpu_s: float) -> None:
        """A turn of the loop that takes so much."""
        self.spent_s += cpu_s
        await turn()


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> Cpu:
    spent = Cpu()
    monkeypatch.setattr(pace, "time", spent)
    return spent


class Door:
    """Lets requests through a pace, and keeps the numbers of those that have begun."""

    def __init__(self) -> None:
        self.pace = Pace()
        self.admitted = 0
        self.begun: list[int] = []

    def ask(self, requests: int = 1) -> int:
        """How many of so many requests were let in."""
        loop, before = asyncio.get_running_loop(), self.admitted
        for _ in range(requests):
            if self.pace.admits():
                begin = partial(self.begun.append, self.admitted)
                if self.pace.begins(loop):
                    begin()
                else:
                    self.pace.wait(begin)
                self.admitted += 1
        return self.admitted - before


async def turn() -> None:
    await asyncio.sleep(0)


async def until_begun(door: Door) -> None:
    while len(door.begun) < door.admitted:
        await turn()
    await turn()


async def test_a_turn_begins_so_many_and_the_next_ones_the_rest(cpu: Cpu) -> None:
    door = Door()
    assert door.ask(100) == 100
    assert door.begun == [*range(IN_TURN)]
    for begun in (2 * IN_TURN, 100):
        await turn()
        assert door.begun == [*range(begun)]
    await turn()
    assert door.ask(IN_TURN) == IN_TURN
    assert len(door.begun) == 100 + IN_TURN


async def test_nobody_overtakes_those_who_wait(cpu: Cpu) -> None:
    door = Door()
    door.ask(IN_TURN + 1)
    await turn()
    door.ask(1)
    await until_begun(door)
    assert door.begun == [*range(IN_TURN + 2)]


async def test_a_burst_is_let_in(cpu: Cpu) -> None:
    door = Door()
    door.ask(1000)
    await cpu.turn(0.09)
    assert door.ask(1000) == 1000
    await cpu.turn(0.12)
    assert door.ask() == 0


async def test_a_queue_that_stays_is_kept_short(cpu: Cpu) -> None:
    door = Door()
    door.ask(3 * IN_TURN)
    while cpu.spent_s < 0.1:
        # As many come as are begun, so that the first has always waited for one turn.
        await cpu.turn(0.011)
        assert door.ask(IN_TURN) == IN_TURN
    await cpu.turn(0.021)
    assert door.ask() == 0
    await cpu.turn(0.001)
    assert door.ask() == 1
    await until_begun(door)
    door.ask(3 * IN_TURN)
    await cpu.turn(0.021)
    assert door.ask() == 0  # it was gone for a moment only
    await until_begun(door)
    await cpu.turn(0.101)
    door.ask(3 * IN_TURN)
    await cpu.turn(0.09)
    assert door.ask() == 1  # what comes after a while is a burst again


async def test_no_more_wait_than_may(cpu: Cpu) -> None:
    door = Door()
    assert door.ask(5000) == IN_TURN + 4096


async def test_time_that_others_take_is_no_reason_to_refuse() -> None:
    door = Door()
    for _ in range(4):
        assert door.ask(50) == 50
        time.sleep(0.1)  # noqa: ASYNC251  # the loop is late, and has used no CPU
        await turn()


@given(steps=st.lists(st.tuples(st.integers(0, 80), st.floats(0, 0.03)), max_size=30))
async def test_whoever_is_let_in_begins_once_and_in_its_order(
    steps: list[tuple[int, float]],
) -> None:
    cpu = Cpu()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pace, "time", cpu)
        door = Door()
        for requests, cpu_s in steps:
            before = len(door.begun)
            door.ask(requests)
            await turn()
            cpu.spent_s += cpu_s
            assert len(door.begun) - before <= 2 * IN_TURN
        await until_begun(door)
    assert door.begun == [*range(door.admitted)]
