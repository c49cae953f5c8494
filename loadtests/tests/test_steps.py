import json
from collections.abc import Mapping

import pytest

from mesh_load.steps import REPORT_S, SETTLE_S, Plan, Step
from mesh_load.tally import Answers, Tally


def step(rate: int, *, good: int, errors: Mapping[str, int] | None = None) -> Step:
    """A step of 10 s with so many answers to requests of 4 texts."""
    answers = Answers()
    for _ in range(good):
        answers.good.record(20.0)
    answers.errors.update(errors or {})
    return Step(rate, 10, 0.5, {"classify, 4 texts": answers})


def test_a_step_says_what_it_found() -> None:
    found = step(10, good=99, errors={"HTTP 503 OVERLOADED": 1})
    assert found.asked_per_s == pytest.approx(10.0)
    assert found.answered_per_s == pytest.approx(9.9)
    assert found.texts_per_s == pytest.approx(39.6)
    assert found.error_share == pytest.approx(0.01)
    assert found.durations.percentile_ms(0.99) == pytest.approx(20, rel=0.01)
    assert found.errors == {"HTTP 503 OVERLOADED": 1}


@pytest.mark.parametrize(
    ("good", "errors", "held", "is_last"),
    [
        (100, 0, True, False),
        (98, 1, False, False),  # one in a hundred at most, and this is a little more
        (89, 0, False, False),  # too slow to ask for more
        (70, 30, False, True),
        (0, 0, False, True),
    ],
)
def test_a_step_holds_or_not(good: int, errors: int, held: bool, is_last: bool) -> None:
    found = step(10, good=good, errors={"timeout": errors} if errors else None)
    assert found.held is held
    assert found.is_last is is_last


def test_a_step_survives_json() -> None:
    found = step(10, good=5, errors={"timeout": 2})
    again = Step.from_json(json.loads(json.dumps(found.to_json())))
    assert again == found


def ask(tally: Tally, first: int, last: int, a_second: int) -> None:
    """Counts so many good answers in each of these seconds."""
    for second in range(first, last):
        for _ in range(a_second):
            tally.record(second, "classify, 1 short text", 5.0, None)


def test_the_plan_counts_neither_the_beginning_nor_the_end_of_a_step() -> None:
    tally = Tally()
    plan = Plan([4, 8], 5, tally)
    assert plan.rate_at(100.7, 0.1) == 4
    counts_from = 100 + SETTLE_S
    ask(tally, 100, counts_from, 1)
    ask(tally, counts_from, counts_from + 5, 4)
    ask(tally, counts_from + 5, counts_from + 5 + REPORT_S, 9)
    assert plan.rate_at(counts_from + 5 + REPORT_S - 0.1, 0.7) == 4
    assert plan.rate_at(counts_from + 5 + REPORT_S, 0.2) == 8
    (found,) = plan.found
    assert found.rate_per_s == 4
    assert found.answered_per_s == pytest.approx(4.0)
    assert found.maker_cpu == pytest.approx(0.7)


def test_the_plan_ends_when_more_load_has_nothing_to_show() -> None:
    tally = Tally()
    plan = Plan([4, 8, 16], 5, tally)
    plan.rate_at(100, 0.0)
    ask(tally, 100, 200, 3)
    assert plan.rate_at(200, 0.0) is None
    assert [each.rate_per_s for each in plan.found] == [4]


def test_the_plan_ends_after_its_last_step() -> None:
    tally = Tally()
    plan = Plan([4], 5, tally)
    plan.rate_at(100, 0.0)
    ask(tally, 100, 200, 4)
    assert plan.rate_at(200, 0.0) is None
    assert [each.held for each in plan.found] == [True]
