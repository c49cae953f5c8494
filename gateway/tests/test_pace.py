"""How many requests begin in a round of the loop, and which of the others may wait."""

import time
from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_gateway import pace
from mesh_gateway.pace import Pace
from mesh_gateway.rounds import Rounds

IN_ROUND = 16
FEW = 256


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


class Door:
    """Lets requests through a pace, and keeps the numbers of those that have begun."""

    def __init__(self) -> None:
        self.rounds = Rounds()
        self.pace = Pace(self.rounds)
        self.admitted = 0
        self.begun: list[int] = []

    def ask(self, requests: int = 1) -> int:
        """How many of so many requests were let in."""
        before = self.admitted
        for _ in range(requests):
            if self.pace.admits():
                begin = partial(self.begun.append, self.admitted)
                if self.pace.begins():
                    begin()
                else:
                    self.pace.wait(begin)
                self.admitted += 1
        return self.admitted - before

    @property
    def waiting(self) -> int:
        return self.admitted - len(self.begun)

    def round(self) -> None:
        """What a round of the loop begins with."""
        before = len(self.begun)
        (begin,) = self.rounds.at_round
        assert begin() == (len(self.begun) > before)

    def until_begun(self) -> None:
        while len(self.begun) < self.admitted:
            self.round()
        self.round()


@pytest.fixture
def door() -> Iterator[Door]:
    made = Door()
    yield made
    made.rounds.close()


def test_a_round_begins_so_many_and_the_next_ones_the_rest(cpu: Cpu, door: Door) -> None:
    assert door.ask(40) == 40
    assert door.begun == [*range(IN_ROUND)]
    for begun in (2 * IN_ROUND, 40):
        door.round()
        assert door.begun == [*range(begun)]
    door.round()
    assert door.ask(IN_ROUND) == IN_ROUND
    assert len(door.begun) == 40 + IN_ROUND


def test_nobody_overtakes_those_who_wait(cpu: Cpu, door: Door) -> None:
    door.ask(IN_ROUND + 1)
    door.round()
    door.ask(1)
    door.until_begun()
    assert door.begun == [*range(IN_ROUND + 2)]


def test_a_burst_is_let_in(cpu: Cpu, door: Door) -> None:
    door.ask(1000)
    cpu.spent_s += 0.09
    door.round()
    assert door.ask(1000) == 1000
    cpu.spent_s += 0.12
    door.round()
    assert door.ask() == 0


def test_a_queue_that_stays_is_kept_short(cpu: Cpu, door: Door) -> None:
    door.ask(FEW + 3 * IN_ROUND)
    while cpu.spent_s < 0.09:
        # As many come as are begun, and the first has waited for less than in a burst it may.
        cpu.spent_s += 0.005
        door.round()
        assert door.ask(IN_ROUND) == IN_ROUND
    cpu.spent_s += 0.02
    door.round()
    assert door.ask() == 0
    while door.waiting > FEW - IN_ROUND:
        door.round()
    assert door.ask(100) == IN_ROUND  # a few may wait at any rate


def test_a_queue_that_was_gone_for_a_moment_stays(cpu: Cpu, door: Door) -> None:
    door.ask(FEW + 3 * IN_ROUND)
    cpu.spent_s += 0.09
    door.until_begun()
    cpu.spent_s += 0.09
    door.ask(FEW + 3 * IN_ROUND)
    cpu.spent_s += 0.021
    door.round()
    assert door.ask() == 0
    door.until_begun()
    cpu.spent_s += 0.101
    door.ask(FEW + 3 * IN_ROUND)
    cpu.spent_s += 0.09
    door.round()
    assert door.ask() == 1  # what comes after a while is a burst again


def test_no_more_wait_than_may(cpu: Cpu, door: Door) -> None:
    assert door.ask(5000) == IN_ROUND + 4096


def test_time_that_others_take_is_no_reason_to_refuse(door: Door) -> None:
    for _ in range(4):
        assert door.ask(50) == 50
        time.sleep(0.1)  # the loop is late, and has used no CPU
        door.round()


@given(steps=st.lists(st.tuples(st.integers(0, 80), st.floats(0, 0.03)), max_size=30))
def test_whoever_is_let_in_begins_once_and_in_its_order(steps: list[tuple[int, float]]) -> None:
    cpu = Cpu()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pace, "time", cpu)
        door = Door()
        for requests, cpu_s in steps:
            before = len(door.begun)
            door.ask(requests)
            door.round()
            cpu.spent_s += cpu_s
            assert len(door.begun) - before <= 2 * IN_ROUND
        door.until_begun()
        door.rounds.close()
    assert door.begun == [*range(door.admitted)]
