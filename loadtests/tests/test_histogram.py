import math

import pytest

from mesh_load.histogram import Histogram


def test_percentiles_are_within_a_percent() -> None:
    histogram = Histogram()
    for duration_ms in range(1, 1001):
        histogram.record(duration_ms)
    assert histogram.count == 1000
    assert histogram.percentile_ms(0.5) == pytest.approx(500, rel=0.01)
    assert histogram.percentile_ms(0.99) == pytest.approx(990, rel=0.01)
    assert histogram.percentile_ms(1.0) == pytest.approx(1000, rel=0.01)


def test_two_put_together_are_one_of_both() -> None:
    one, other = Histogram(), Histogram()
    for duration_ms in (10.0, 20.0):
        one.record(duration_ms)
    other.record(40.0)
    one.add(other)
    assert one.count == 3
    assert one.percentile_ms(1.0) == pytest.approx(40, rel=0.01)
    assert other.count == 1


def test_none_has_no_percentile() -> None:
    assert math.isnan(Histogram().percentile_ms(0.5))


def test_nothing_is_too_short() -> None:
    histogram = Histogram()
    histogram.record(0.0)
    assert histogram.percentile_ms(0.5) == pytest.approx(0.01, rel=0.02)
