"""Calibration on the validation part, and figures on the test part."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mesh_classifier.calibration import LABELS, Floats, choose_labels, probabilities
from mesh_classifier.training.data import NEGATIVE, NEUTRAL, POSITIVE, Examples
from mesh_classifier.training.recipe import Outputs
from mesh_pipelines.statistics import accuracy, calibration_error, macro_f1, precision_recall_curve
from mesh_pipelines.weighted import Labels

_GOLDEN = (np.sqrt(5) - 1) / 2
# A temperature is searched between the exponentials of these.
_LOG_BOUNDS = (-3.0, 3.0)
# Enough steps to narrow that interval by a factor of 1e-12.
_STEPS = 58


def fit_temperature(logits: npt.NDArray[np.floating], labels: Labels) -> float:
    """The temperature with the lowest cross-entropy on hard labels, by golden-section search.

    The cross-entropy is convex in the inverse temperature, so it has one minimum on any scale.
    """

    def loss(log_temperature: float) -> float:
        given = probabilities(logits, float(np.exp(log_temperature)))
        of_truth = given[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(of_truth, np.finfo(np.float64).tiny)).mean())

    low, high = _LOG_BOUNDS
    for _ in range(_STEPS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def fit_thresholds(shares: Floats, labels: Labels) -> dict[str, float]:
    """For each label the probability from which on calling it gives the best F1 against the others.

    Args:
        shares: calibrated probabilities, shape [texts, labels].
        labels: the true ones, as indices; each occurs.
    """
    return {
        name: precision_recall_curve(labels == index, shares[:, index]).best_f1()[0]
        for index, name in enumerate(LABELS)
    }


def describe(
    examples: Examples, outputs: Outputs, temperature: float, thresholds: dict[str, float]
) -> dict[str, float]:
    """Figures over all texts, and for each source (`films_accuracy`).

    `binary_macro_f1` is that of the texts that are not neutral, where neutral is no answer.
    """
    shares = probabilities(outputs.logits, temperature)
    predicted = choose_labels(shares, thresholds)
    polar = choose_polar(shares, thresholds)
    figures = {
        **_scores(examples.labels, predicted, polar),
        "calibration_error": calibration_error(examples.labels, shares),
        "valence_mean_absolute_error": float(np.abs(outputs.valences - examples.valences).mean()),
        "texts": float(len(examples)),
    }
    for source in np.unique(examples.sources):
        here = examples.sources == source
        scores = _scores(examples.labels[here], predicted[here], polar[here])
        figures |= {f"{source}_{name}": value for name, value in scores.items()}
    return figures


def choose_polar(shares: Floats, thresholds: Mapping[str, float]) -> Labels:
    """The labels to answer, as indices of LABELS, where neutral is none; by the same thresholds."""
    pair = np.array((NEGATIVE, POSITIVE), dtype=np.int64)
    return pair[choose_labels(shares[:, pair], thresholds, [LABELS[label] for label in pair])]


def _scores(truth: Labels, predicted: Labels, polar: Labels) -> dict[str, float]:
    binary = truth != NEUTRAL
    return {
        "accuracy": accuracy(truth, predicted),
        "macro_f1": macro_f1(truth, predicted, len(LABELS)),
        "binary_macro_f1": macro_f1(truth[binary], polar[binary], len(LABELS)),
    }
