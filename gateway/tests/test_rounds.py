"""A loop that looks at its callers between the work that is under way."""

import asyncio
import selectors
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from mesh_gateway import rounds
from mesh_gateway.rounds import Rounds, RoundsLoop

PATIENCE_S = 0.01
DEADLINE_S = 30.0


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stands_still = Clock()
    monkeypatch.setattr(rounds, "time", stands_still)
    return stands_still


class Heard:
    """Two sockets that are written to, a caller's and another's, and how much was read of each."""

    def __init__(self, loop: RoundsLoop) -> None:
        self.loop = loop
        self.pairs = {name: socket.socketpair() for name in ("caller", "other")}
        self.read = dict.fromkeys(self.pairs, 0)
        self.caller_heard = asyncio.Event()
        loop.rounds.callers.add(self.pairs["caller"][0].fileno())
        for name, (mine, _) in self.pairs.items():
            mine.setblocking(False)
            loop.add_reader(mine, partial(self._hear, name))

    def _hear(self, name: str) -> None:
        self.read[name] += len(self.pairs[name][0].recv(1000))
        if name == "caller":
            self.caller_heard.set()

    def say(self) -> None:
        for _, theirs in self.pairs.values():
            theirs.send(b"x")

    def close(self) -> None:
        for mine, theirs in self.pairs.values():
            self.loop.remove_reader(mine)
            mine.close()
            theirs.close()


async def turns(count: int) -> None:
    """Turns of a loop that has more to do."""
    for _ in range(count):
        await asyncio.sleep(0)


@asynccontextmanager
async def heard() -> AsyncIterator[Heard]:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, RoundsLoop)
    made = Heard(loop)
    try:
        await turns(3)  # the round that the loop begins with is over
        yield made
    finally:
        made.close()


def on_its_loop(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await work()

    with asyncio.Runner(loop_factory=RoundsLoop) as runner:
        runner.run(bounded())


def test_callers_wait_while_there_is_work_and_nobody_else_does(clock: Clock) -> None:
    async def work() -> None:
        async with heard() as sockets:
            sockets.say()
            await turns(50)
            assert sockets.read == {"caller": 0, "other": 1}

    on_its_loop(work)


def test_they_do_not_wait_for_long(clock: Clock) -> None:
    async def work() -> None:
        async with heard() as sockets:
            sockets.say()
            await turns(3)
            clock.now_s += PATIENCE_S + 0.001
            await turns(3)
            assert sockets.read == {"caller": 1, "other": 1}
            sockets.say()
            await turns(50)
            assert sockets.read == {"caller": 1, "other": 2}

    on_its_loop(work)


def test_they_are_looked_at_when_there_is_nothing_else_to_do(clock: Clock) -> None:
    async def work() -> None:
        async with heard() as sockets:
            sockets.say()
            await sockets.caller_heard.wait()

    on_its_loop(work)


def test_what_a_round_begins_is_not_waited_with(clock: Clock) -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        begun = loop.create_future()

        def begin() -> bool:
            if begun.done():
                return False
            begun.set_result(None)
            return True

        Rounds.of(loop).at_round.append(begin)
        await begun  # nothing else would ever wake the loop

    on_its_loop(work)


def test_a_loop_without_rounds_says_which_to_take() -> None:
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(TypeError, match="run it with `RoundsLoop`"):
            Rounds.of(loop)
    finally:
        loop.close()


@pytest.fixture
def made() -> Iterator[Rounds]:
    selector = Rounds()
    yield selector
    selector.close()


def test_a_descriptor_stays_where_it_was_registered(made: Rounds) -> None:
    mine, theirs = socket.socketpair()
    with mine, theirs:
        made.callers.add(mine.fileno())
        made.register(mine, selectors.EVENT_READ, "reads")
        made.register(theirs, selectors.EVENT_READ, "other")
        made.callers.discard(mine.fileno())  # as when its handshake fails
        made.callers.add(theirs.fileno())
        assert {key.data for key in made.get_map().values()} >= {"reads", "other"}
        made.modify(mine, selectors.EVENT_READ | selectors.EVENT_WRITE, "both")
        assert made.get_key(mine).data == "both"
        assert [(key.data, events) for key, events in made.select(0.0001)] == [
            ("both", selectors.EVENT_WRITE)
        ]
        theirs.send(b"x")
        assert [(key.data, events) for key, events in made.select(0.0001)] == [
            ("both", selectors.EVENT_READ | selectors.EVENT_WRITE)
        ]
        assert [made.unregister(each).data for each in (mine, theirs)] == ["both", "other"]
        with pytest.raises(KeyError):
            made.get_key(mine)
