"""A straight line through measurements, and how sure its slope is."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

_95_PERCENT = statistics.NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Slope:
    """The slope of a line, and the ends of its confidence interval (95 %)."""

    value: float
    low: float
    high: float


def slope_of(xs: Sequence[float], ys: Sequence[float]) -> Slope:
    """The slope by least squares; for many points, since its error is taken as normal.

    Args:
        xs: where was measured.
        ys: what was measured there.

    Raises:
        ValueError: there are fewer than three points.
    """
    if len(xs) < 3:
        raise ValueError(f"{len(xs)} points have no slope with an error; measure three at least")
    line = statistics.linear_regression(xs, ys)
    residuals = [y - line.slope * x - line.intercept for x, y in zip(xs, ys, strict=True)]
    variance = sum(each * each for each in residuals) / (len(xs) - 2)
    mean = statistics.fmean(xs)
    error = math.sqrt(variance / sum((x - mean) ** 2 for x in xs))
    return Slope(line.slope, line.slope - _95_PERCENT * error, line.slope + _95_PERCENT * error)
