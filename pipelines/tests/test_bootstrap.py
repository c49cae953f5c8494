"""Drawings of groups, and the intervals made from them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_pipelines.bootstrap import difference, drawings, estimate

GROUPS = np.array(["b", "a", "b", "c", "a", "b"])


def test_the_first_weighting_is_the_items_themselves() -> None:
    weights = drawings(GROUPS, 50, 1)
    assert weights.shape == (51, 6)
    assert weights[0].tolist() == [1] * 6


@given(st.integers(0, 2**32 - 1))
def test_a_group_is_drawn_as_a_whole(seed: int) -> None:
    weights = drawings(GROUPS, 20, seed)
    for name in "abc":
        columns = weights[:, name == GROUPS]
        assert (columns == columns[:, :1]).all()
    # As many groups as there are, each counted once by its first item.
    firsts = [list(GROUPS).index(name) for name in "abc"]
    assert (weights[:, firsts].sum(axis=1) == 3).all()


def test_the_same_seed_draws_the_same() -> None:
    assert (drawings(GROUPS, 30, 5) == drawings(GROUPS, 30, 5)).all()
    assert (drawings(GROUPS, 30, 5) != drawings(GROUPS, 30, 6)).any()


def test_the_interval_of_a_mean_is_that_of_theory() -> None:
    # The standard error of the mean of 400 normal values is 1/20.
    values = np.random.default_rng(0).normal(0, 1, 400)
    weights = drawings(np.arange(400), 4000, 0)
    found = estimate(weights @ values / weights.sum(axis=1))
    assert found.value == pytest.approx(values.mean())
    assert found.high is not None
    assert found.low is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 / 20, rel=0.06)


def test_intervals_of_clusters_are_wider() -> None:
    """Ten alike items a group tell no more than one: sqrt(10) times the width."""
    values = np.repeat(np.random.default_rng(0).normal(0, 1, 40), 10)
    widths = []
    for groups in (np.arange(400), np.repeat(np.arange(40), 10)):
        weights = drawings(groups, 4000, 0)
        found = estimate(weights @ values / weights.sum(axis=1))
        assert found.high is not None
        assert found.low is not None
        widths.append(found.high - found.low)
    assert widths[1] / widths[0] == pytest.approx(np.sqrt(10), rel=0.1)


def test_a_difference_counts_how_often_it_is_none() -> None:
    found = difference(np.array([3.0, 1.0, 2.0, 4.0, 5.0]), np.array([1.0, 1.0, 3.0, 1.0, 1.0]))
    assert found.value == 2
    assert found.not_above == 0.5  # of the four drawings, one is equal and one is below
    assert found.low == pytest.approx(np.quantile([0, -1, 3, 4], 0.025))
    assert found.high == pytest.approx(np.quantile([0, -1, 3, 4], 0.975))


def test_what_is_undefined_stays_undefined() -> None:
    nothing = np.full(4, np.nan)
    assert estimate(nothing) == estimate(nothing)
    assert (estimate(nothing).value, estimate(nothing).low) == (None, None)
    assert difference(nothing, nothing).not_above is None
    # A drawing without the items it needs is left out of the interval.
    assert estimate(np.array([2.0, np.nan, 1.0, 1.0])).high == 1.0
