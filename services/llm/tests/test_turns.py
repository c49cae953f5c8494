"""Callers of many requests let others go between, and nobody waits for ever."""

import heapq

from hypothesis import given
from hypothesis import strategies as st

from mesh_llm.engines.turns import Turns, place


def served(asked: list[tuple[str, int]], running: int = 1) -> list[str]:
    """Who is served, in order, where all ask before any is served, and so many run at once."""
    turns = Turns()
    waiting: list[tuple[int, int, str]] = []
    for number, (caller, choices) in enumerate(asked):
        heapq.heappush(waiting, (turns.take(caller, choices), number, caller))
    order = []
    while waiting:
        for _ in range(min(running, len(waiting))):
            turn, _, caller = heapq.heappop(waiting)
            turns.began(turn)
            order.append(caller)
    return order


def test_a_caller_of_one_goes_before_the_second_of_a_caller_of_many() -> None:
    assert served([("many", 1)] * 4 + [("one", 1)]) == ["many", "one", "many", "many", "many"]


def test_callers_of_many_take_turns() -> None:
    asked = [("a", 1)] * 3 + [("b", 1)] * 3
    assert served(asked) == ["a", "b"] * 3


def test_choices_count() -> None:
    asked = [("a", 3), ("a", 3), *[("b", 1)] * 4]
    assert served(asked) == ["a", "b", "b", "b", "a", "b"]


def test_who_comes_later_does_not_go_before_all_who_wait() -> None:
    turns = Turns()
    first = [turns.take("a", 1) for _ in range(10)]
    for turn in first[:6]:
        turns.began(turn)
    late = turns.take("b", 1)
    assert first[5] <= late < first[6]


def test_what_was_given_up_is_not_held_against_a_caller() -> None:
    turns = Turns()
    turns.began(turns.take("b", 1))
    for _ in range(1000):
        turns.take("a", 1)
        turns.gave_up("a", 1)
    assert turns.take("a", 1) <= 1


def test_at_rest_everybody_is_new() -> None:
    turns = Turns()
    for _ in range(5):
        turns.take("a", 1)
    turns.rest()
    assert turns.take("a", 1) == turns.take("b", 1) == 0


def test_a_priority_goes_before_every_turn() -> None:
    turns = Turns()
    turns.take("a", 10**6)
    assert place(-1, turns.take("a", 1)) < place(0, turns.take("b", 1)) < place(1, 0)
    assert abs(place(1_000_000, 2**31)) < 2**63


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4)), max_size=40))
def test_each_callers_own_requests_keep_their_order_and_shares_are_even(
    asked: list[tuple[str, int]],
) -> None:
    turns = Turns()
    waiting: list[tuple[int, int, str, int]] = []
    for number, (caller, choices) in enumerate(asked):
        waiting.append((turns.take(caller, choices), number, caller, choices))
    got = dict.fromkeys("abc", 0)
    last = dict.fromkeys("abc", -1)
    left = {each: sum(1 for caller, _ in asked if caller == each) for each in "abc"}
    for turn, number, caller, choices in sorted(waiting):
        turns.began(turn)
        assert number > last[caller]
        last[caller] = number
        # Whoever still waits is behind by no more than the longest request.
        behind = [got[other] for other in "abc" if left[other] and other != caller]
        assert all(got[caller] - other <= 4 for other in behind)
        got[caller] += choices
        left[caller] -= 1
