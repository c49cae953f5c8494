import math

import pytest
from classifier.sample import TEXT, texts
from lab.load import Load, percentile
from lab.open_loop import Answer, Attack, spread
from lab.rounds import in_turn, ratio


def test_a_ratio_is_of_the_figures_of_each_round() -> None:
    found = ratio([10.0, 30.0, 90.0], [10.0, 10.0, 10.0])
    assert (found.median, found.least, found.most) == (3.0, 1.0, 9.0)
    assert str(found) == "3.00 (1.00 to 9.00)"


def test_rounds_go_there_and_back_and_the_first_does_not_count() -> None:
    calls: list[str] = []

    def measured(name: str) -> int:
        calls.append(name)
        return len(calls)

    found = in_turn({"a": lambda: measured("a"), "b": lambda: measured("b")}, 2)
    assert "".join(calls) == "baabba"
    assert found == {"a": [3, 6], "b": [4, 5]}


@pytest.mark.parametrize(("share", "found"), [(0.5, 2.0), (0.51, 3.0), (0.99, 4.0), (0.0, 1.0)])
def test_a_percentile_is_one_of_the_values(share: float, found: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == found


def test_none_has_no_percentile() -> None:
    assert math.isnan(percentile([], 0.5))


def test_an_attack_tells_good_answers_from_others() -> None:
    answers = [Answer(200, 10.0), Answer(200, 30.0), Answer(503, 1.0), Answer(0, 99.0)]
    attack = Attack(answers, seconds=2.0, cpu_s=0.00390625, maker_s=0.001953125)
    assert attack.waited_ms(429, 503) == [1.0]
    assert attack.load == Load(
        rate=1.0,
        p50_ms=10.0,
        p99_ms=30.0,
        cpu_us=976.5625,
        maker_us=488.28125,
        statuses={503: 1, 0: 1},
    )


@pytest.mark.parametrize(
    ("rate", "begun", "each_ms"),
    [(9000.0, 9, 1), (1500.0, 3, 2), (333.3, 1, 3), (40.0, 1, 24), (3701.0, 11, 3), (1490.0, 3, 2)],
)
def test_connections_begin_as_they_will_ask(rate: float, begun: int, each_ms: int) -> None:
    assert spread(rate) == (begun, each_ms)


def test_texts_are_like_the_sample_and_never_the_same() -> None:
    found = texts(5_000, 20_000)
    assert len(set(found)) == 20_000
    assert TEXT in texts(0, 1)
    assert {len(text.split()) for text in found} == {len(TEXT.split())}
    assert not set(found) & set(texts(25_000, 100))
