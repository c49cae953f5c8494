"""When a breaker opens, how long, and what closes it."""

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshkit.breaker import LEAST_CALLS, WINDOW, Breaker, Result, State

GOOD, FAULT, FAILED, NOTHING = Result.GOOD, Result.FAULT, Result.FAILED, Result.NOTHING


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


def call(breaker: Breaker, result: Result, others: float = 1.0) -> None:
    breaker.begin()
    breaker.end(result, lambda: others)


def state(breaker: Breaker) -> State:
    """Its state; a type checker knows nothing of the time that has passed."""
    return breaker.state


def opened(breaker: Breaker) -> Breaker:
    for _ in range(LEAST_CALLS):
        call(breaker, FAILED)
    assert state(breaker) is State.OPEN
    return breaker


def test_it_opens_when_half_of_the_latest_calls_failed(breaker: Breaker) -> None:
    for _ in range(6):
        call(breaker, GOOD)
    for _ in range(5):
        call(breaker, FAILED)
        assert breaker.passes
    call(breaker, FAILED)
    assert not breaker.passes


def test_a_few_failures_at_first_say_nothing(breaker: Breaker) -> None:
    for _ in range(LEAST_CALLS - 1):
        call(breaker, FAILED)
    assert state(breaker) is State.CLOSED


def test_only_the_latest_calls_count(breaker: Breaker) -> None:
    for _ in range(1000):
        call(breaker, GOOD)
    for _ in range(WINDOW // 2):
        call(breaker, FAILED)
    assert state(breaker) is State.OPEN


def test_a_caller_that_leaves_says_nothing(breaker: Breaker) -> None:
    for _ in range(100):
        call(breaker, NOTHING)
    assert state(breaker) is State.CLOSED


@pytest.mark.parametrize(
    ("others", "expected"),
    [(0.0, State.OPEN), (0.1, State.OPEN), (0.5, State.CLOSED), (1.0, State.CLOSED)],
)
def test_faults_count_only_where_the_others_have_fewer(
    breaker: Breaker, others: float, expected: State
) -> None:
    """A poisonous request makes every replica answer with a fault, and none should leave for it."""
    for _ in range(5):
        call(breaker, GOOD, others)
        call(breaker, FAULT, others)
    assert state(breaker) is expected


class TestOpen:
    def test_it_lets_one_call_through_after_a_while(self, breaker: Breaker, clock: Clock) -> None:
        opened(breaker)
        clock.now_s += 0.79
        assert state(breaker) is State.OPEN
        clock.now_s += 0.42
        assert state(breaker) is State.HALF_OPEN
        passes = [breaker.passes]
        breaker.begin()
        assert [*passes, breaker.passes] == [True, False]

    def test_a_good_probe_closes_it(self, breaker: Breaker, clock: Clock) -> None:
        opened(breaker)
        clock.now_s += 1.21
        call(breaker, GOOD)
        assert state(breaker) is State.CLOSED
        # What was before is forgotten.
        for _ in range(LEAST_CALLS - 1):
            call(breaker, FAILED)
        assert state(breaker) is State.CLOSED

    @pytest.mark.parametrize("result", [FAILED, FAULT])
    def test_a_bad_probe_opens_it_for_longer(
        self, breaker: Breaker, clock: Clock, result: Result
    ) -> None:
        opened(breaker)
        for seconds in (2, 4, 8, 16, 30, 30):
            clock.now_s += 37  # longer than it is ever open
            call(breaker, result)
            clock.now_s += 0.79 * seconds
            assert state(breaker) is State.OPEN
            clock.now_s += 0.42 * seconds
            assert state(breaker) is State.HALF_OPEN

    def test_a_probe_whose_caller_left_is_made_again(self, breaker: Breaker, clock: Clock) -> None:
        opened(breaker)
        clock.now_s += 2
        call(breaker, NOTHING)
        assert breaker.passes
        call(breaker, GOOD)
        assert state(breaker) is State.CLOSED

    def test_calls_that_began_before_it_opened_decide_nothing(
        self, breaker: Breaker, clock: Clock
    ) -> None:
        breaker.begin()
        opened(breaker)
        clock.now_s += 2
        breaker.end(GOOD)
        assert state(breaker) is State.HALF_OPEN
        breaker.begin()
        breaker.end(GOOD)
        assert state(breaker) is State.CLOSED


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["begin", *Result]), st.floats(0, 40), st.sampled_from([0.0, 0.2, 1.0])
        ),
        max_size=200,
    )
)
def test_whatever_happens_it_passes_again_some_day(
    script: list[tuple[object, float, float]],
) -> None:
    clock = Clock()
    breaker = Breaker(clock)
    in_flight = 0
    for action, seconds, others in script:
        clock.now_s += seconds
        if isinstance(action, Result):
            if in_flight:
                in_flight -= 1
                breaker.end(action, functools.partial(float, others))
        elif breaker.passes:
            in_flight += 1
            breaker.begin()
    for _ in range(in_flight):
        breaker.end(NOTHING)
    clock.now_s += 36.1
    assert breaker.passes
