"""Calibration on validation and figures on the test part, from what the exported graph answers."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from mesh_pipelines.statistics import (
    accuracy,
    calibration_error,
    macro_f1,
    precision_recall_curve,
)

from mesh_classifier.training.data import LABELS, Examples

Floats = npt.NDArray[np.float64]
# Between these a temperature is searched, as natural logarithms.
_LOG_BOUNDS = (-3.0, 3.0)
_GOLDEN = (np.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a graph gave for some texts."""

    logits: Floats
    """Shape [n, labels]."""
    valences: Floats
    """Shape [n]."""


def softmax(logits: Floats) -> Floats:
    """Probabilities from logits, row by row."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def fit_temperature(logits: Floats, labels: npt.NDArray[np.int64]) -> float:
    """The temperature with the lowest cross-entropy on hard labels, by golden-section search.

    The cross-entropy has one minimum in the inverse temperature, hence also in its logarithm.
    """
    low, high = _LOG_BOUNDS
    for _ in range(60):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if _hard_loss(logits, labels, left) < _hard_loss(logits, labels, right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def _hard_loss(logits: Floats, labels: npt.NDArray[np.int64], log_temperature: float) -> float:
    chosen = softmax(logits / np.exp(log_temperature))[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chosen, np.finfo(np.float64).tiny)).mean())


def fit_thresholds(probabilities: Floats, labels: npt.NDArray[np.int64]) -> dict[str, float]:
    """For each label the probability from which on calling it gives the best F1 against the others."""
    return {
        name: precision_recall_curve(labels == index, probabilities[:, index]).best_f1()[0]
        for index, name in enumerate(LABELS)
    }


def describe(examples: Examples, outputs: Outputs, temperature: float) -> dict[str, float]:
    """Figures over all texts, and accuracy and macro-F1 for each source (`films_accuracy`)."""
    probabilities = softmax(outputs.logits / temperature)
    predicted = probabilities.argmax(axis=1)
    figures = {
        **_scores(examples.labels, predicted),
        "calibration_error": calibration_error(examples.labels, probabilities),
        "valence_mean_absolute_error": float(np.abs(outputs.valences - examples.valences).mean()),
        "texts": float(len(examples)),
    }
    for source in np.unique(examples.sources):
        here = examples.sources == source
        scores = _scores(examples.labels[here], predicted[here])
        figures |= {f"{source}_{name}": value for name, value in scores.items()}
    return figures


def _scores(truth: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64]) -> dict[str, float]:
    return {
        "accuracy": accuracy(truth, predicted),
        "macro_f1": macro_f1(truth, predicted, len(LABELS)),
    }
