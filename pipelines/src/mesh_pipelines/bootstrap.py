"""Intervals of figures by the bootstrap (Efron 1979), with whole groups drawn together.

Texts of one document are alike, so that drawing them one by one would promise too much.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mesh_pipelines.weighted import Floats

LEVEL = 0.95
"""How often an interval should hold the true figure."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its percentile interval; None where it is undefined."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """How much a figure is above another one of the same items, by the same drawings."""

    value: float | None
    low: float | None
    high: float | None
    not_above: float | None
    """The share of drawings in which it is not above: a one-sided p-value."""


def drawings(groups: npt.NDArray[Any], count: int, seed: int) -> Floats:
    """How often each item is drawn, over the items themselves and `count` drawings of the groups.

    Args:
        groups: the group of each item, of any type that sorts.
        count: number of drawings.
        seed: of the drawings.

    Returns:
        Weights, [1 + count, n]; the first row is the items as they are.
    """
    names, places = np.unique(groups, return_inverse=True)
    size = len(names)
    times = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), count)
    return np.concatenate([np.ones((1, len(groups))), times[:, places].astype(np.float64)])


def estimate(figures: Floats) -> Estimate:
    """The interval of a figure from its values under `drawings`."""
    return Estimate(*_value_and_interval(figures))


def difference(figures: Floats, others: Floats) -> Difference:
    """The interval of the difference of two figures from their values under the same `drawings`."""
    gaps = figures - others
    drawn = _defined(gaps[1:])
    not_above = float((drawn <= 0).mean()) if len(drawn) else None
    return Difference(*_value_and_interval(gaps), not_above)


def _value_and_interval(figures: Floats) -> tuple[float | None, float | None, float | None]:
    value = None if np.isnan(figures[0]) else float(figures[0])
    drawn = _defined(figures[1:])
    if not len(drawn):
        return value, None, None
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return value, float(low), float(high)


def _defined(figures: Floats) -> Floats:
    return figures[~np.isnan(figures)]
