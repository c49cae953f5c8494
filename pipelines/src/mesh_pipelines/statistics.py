"""Figures that describe how well a classifier does. Pure functions of arrays.

Labels are integers from 0; probabilities are rows that sum to 1, a column for each label.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mesh_pipelines import weighted
from mesh_pipelines.weighted import Floats, Labels, confidence_bins, once

BINS = 15
"""Bins of the calibration error."""


def accuracy(truth: Labels, predicted: Labels) -> float:
    """The share of predictions that are right."""
    return float(weighted.accuracy(truth, predicted, once(len(truth)))[0])


def confusion(truth: Labels, predicted: Labels, count: int) -> npt.NDArray[np.int64]:
    """How often each label (row) was taken for each other (column); shape [count, count]."""
    matrix = np.zeros((count, count), dtype=np.int64)
    np.add.at(matrix, (truth, predicted), 1)
    return matrix


def macro_f1(truth: Labels, predicted: Labels, count: int) -> float:
    """The mean F1 over the labels that occur in truth or predictions."""
    return float(weighted.macro_f1(truth, predicted, count, once(len(truth)))[0])


def calibration_error(truth: Labels, probabilities: Floats, bins: int = BINS) -> float:
    """Expected calibration error of the most probable label, over bins of equal width.

    Guo, Pleiss, Sun, Weinberger: On calibration of modern neural networks (2017).
    """
    weights = once(len(truth))
    return float(weighted.calibration_error(truth, probabilities, bins, weights)[0])


@dataclass(frozen=True, slots=True)
class Reliability:
    """How sure predictions were and how often they were right, by bins of confidence.

    Bins without a prediction are left out.
    """

    counts: Labels
    confidence: Floats
    """The mean confidence in each bin."""
    accuracy: Floats
    """The share that was right in each bin."""


def reliability(truth: Labels, probabilities: Floats, bins: int = BINS) -> Reliability:
    """The reliability diagram of the most probable label, over bins of equal width."""
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == truth).astype(np.float64)
    index = confidence_bins(confidence, bins)
    counts = np.bincount(index, minlength=bins)
    used = counts > 0
    sums = [np.bincount(index, values, bins)[used] for values in (confidence, right)]
    return Reliability(counts[used], sums[0] / counts[used], sums[1] / counts[used])


def cross_entropy(targets: Floats, probabilities: Floats) -> float:
    """The mean cross-entropy in nats against soft targets of the same shape."""
    floor = np.finfo(np.float64).tiny
    return float(-np.mean(np.sum(targets * np.log(np.maximum(probabilities, floor)), axis=1)))


@dataclass(frozen=True, slots=True)
class Curve:
    """Precision and recall when everything scored at or above a threshold counts as found."""

    thresholds: Floats
    precision: Floats
    recall: Floats

    def best_f1(self) -> tuple[float, float]:
        """The threshold with the highest F1, and that F1; the highest such threshold."""
        total = self.precision + self.recall
        f1 = np.divide(
            2 * self.precision * self.recall, total, out=np.zeros_like(total), where=total > 0
        )
        best = int(np.argmax(f1))
        return float(self.thresholds[best]), float(f1[best])


def precision_recall_curve(positive: npt.NDArray[np.bool_], scores: Floats) -> Curve:
    """The curve over every distinct score, highest first; at least one item must be positive."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    hits = np.cumsum(positive[order])
    last_of_value = np.append(ranked[1:] != ranked[:-1], True)
    found = np.arange(1, len(scores) + 1)[last_of_value]
    hits = hits[last_of_value]
    return Curve(ranked[last_of_value], hits / found, hits / hits[-1])
