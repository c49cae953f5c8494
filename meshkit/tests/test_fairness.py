"""How the places of a process are shared."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshkit.errors import Overloaded
from meshkit.fairness import InFlight


@contextmanager
def admitted(places: InFlight, caller: str) -> Iterator[None]:
    with places.enter(), places.hold(caller):
        yield


def fill(places: InFlight, stack: ExitStack, caller: str) -> int:
    """How many requests of one caller get a place."""
    count = 0
    while True:
        try:
            stack.enter_context(admitted(places, caller))
        except Overloaded:
            return count
        count += 1


def test_a_caller_alone_may_have_all() -> None:
    places = InFlight(10)
    with ExitStack() as stack:
        assert fill(places, stack, "a") == 10
    assert places.total == 0


def test_one_that_floods_leaves_room_for_the_next() -> None:
    places = InFlight(100)
    with ExitStack() as stack:
        stack.enter_context(admitted(places, "b"))
        assert fill(places, stack, "a") == 50
        assert fill(places, stack, "b") == 49
        with pytest.raises(Overloaded, match="100 requests are in flight"):
            stack.enter_context(admitted(places, "c"))


def test_a_newcomer_finds_a_place_while_another_has_more_than_its_part() -> None:
    places = InFlight(100)
    with ExitStack() as stack:
        for _ in range(80):
            stack.enter_context(admitted(places, "a"))
        stack.enter_context(admitted(places, "b"))
        with pytest.raises(Overloaded, match=r"80 of your requests .* your part of 100 for 2"):
            stack.enter_context(admitted(places, "a"))
        assert fill(places, stack, "b") == 19


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=200), st.integers(1, 20))
def test_places_are_counted_right_whatever_happens(
    script: list[tuple[str, bool]], most: int
) -> None:
    places = InFlight(most)
    held: dict[str, list[ExitStack]] = {name: [] for name in "abc"}
    for caller, leaves in script:
        if leaves and held[caller]:
            held[caller].pop().close()
            continue
        stack = ExitStack()
        try:
            stack.enter_context(admitted(places, caller))
        except Overloaded:
            stack.close()
        else:
            held[caller].append(stack)
        total = sum(map(len, held.values()))
        assert places.total == total <= most
    for stacks in held.values():
        for stack in stacks:
            stack.close()
    assert places.total == 0
    assert not places._by_caller
