"""Figures of a classifier under many weightings of its items at once.

A bootstrap counts each item as often as it was drawn, so it asks for a figure once for each
drawing; computed together they take seconds where one by one they would take minutes. `weights` has
a row for each weighting and a column for each item: float64 [weightings, n]. A figure that a
weighting leaves undefined is NaN there.
"""

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def once(count: int) -> Floats:
    """The one weighting under which each of `count` items counts once."""
    return np.ones((1, count))


def accuracy(truth: Labels, predicted: Labels, weights: Floats) -> Floats:
    """The share of predictions that are right."""
    return _ratio(weights @ (truth == predicted), weights.sum(axis=1))


def macro_f1(truth: Labels, predicted: Labels, count: int, weights: Floats) -> Floats:
    """The mean F1 over the labels, of `count`, that occur in truth or predictions."""
    totals = np.zeros(len(weights))
    occurring = np.zeros(len(weights))
    for label in range(count):
        hits = weights @ ((truth == label) & (predicted == label))
        involved = weights @ (truth == label) + weights @ (predicted == label)
        totals += np.divide(2 * hits, involved, out=np.zeros_like(hits), where=involved > 0)
        occurring += involved > 0
    return _ratio(totals, occurring)


def roc_auc(positive: Bools, scores: Floats, weights: Floats) -> Floats:
    """The area under the ROC curve: how likely a positive item scores above one that is not.

    Equal scores count half.
    """
    found, all_ = _by_score(positive, -scores, weights)
    others = all_ - found
    below = np.cumsum(others[:, ::-1], axis=1)[:, ::-1] - others
    wins = (found * (below + others / 2)).sum(axis=1)
    return _ratio(wins, found.sum(axis=1) * others.sum(axis=1))


def average_precision(positive: Bools, scores: Floats, weights: Floats) -> Floats:
    """The area under the precision-recall curve, as the sum of its steps."""
    found, all_ = _by_score(positive, -scores, weights)
    hits, called = np.cumsum(found, axis=1), np.cumsum(all_, axis=1)
    precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
    return _ratio((found * precision).sum(axis=1), found.sum(axis=1))


def calibration_error(truth: Labels, probabilities: Floats, bins: int, weights: Floats) -> Floats:
    """Expected calibration error of the most probable label, over bins of equal width.

    Guo, Pleiss, Sun, Weinberger: On calibration of modern neural networks (2017).
    """
    confidence = probabilities.max(axis=1)
    gap = (probabilities.argmax(axis=1) == truth) - confidence
    bin_ = confidence_bins(confidence, bins)
    gaps = sum(np.abs(weights @ np.where(bin_ == index, gap, 0.0)) for index in range(bins))
    return _ratio(np.asarray(gaps), weights.sum(axis=1))


def confidence_bins(confidence: Floats, bins: int) -> Labels:
    """The bin of each confidence. Bins are open below and closed above, so 1 is in the last."""
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def _by_score(positive: Bools, keys: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """The weights of positive items and of all, summed over equal keys, in ascending order."""
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    in_order = weights[:, order]
    found = np.add.reduceat(in_order * positive[order], starts, axis=1)
    return found, np.add.reduceat(in_order, starts, axis=1)


def _ratio(part: Floats, whole: Floats) -> Floats:
    ratio: Floats = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return ratio
