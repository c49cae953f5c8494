"""From what the graph gives to what is answered. Training measures with these same functions."""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]

LABELS: Final = ("negative", "neutral", "positive")
"""In the order of the graph's logits."""

MAX_VALENCE: Final = 4.0
"""Valences lie between minus this and this."""


def probabilities(logits: npt.NDArray[np.floating], temperature: float) -> Floats:
    """Calibrated probabilities, row by row.

    Computed in double precision, so that rows sum to 1 within 1e-15 whatever the logits.

    Args:
        logits: any float type, shape [texts, labels].
        temperature: what the logits are divided by, fitted on validation texts (Guo et al. 2017,
            "On Calibration of Modern Neural Networks").
    """
    scaled = np.asarray(logits, np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def choose_labels(
    probabilities: Floats, thresholds: Mapping[str, float], labels: Sequence[str] = LABELS
) -> npt.NDArray[np.intp]:
    """Indices of the labels to answer: those that exceed their thresholds by the largest factor.

    A rare label is hardly ever the most probable one; its threshold, where calling it gave the best
    F1 on validation texts, is lower, which gives it its due.

    Args:
        probabilities: shape [texts, labels].
        thresholds: for each label the probability from which on it is worth calling, above 0.
        labels: their order in `probabilities`.
    """
    worth = np.array([thresholds[label] for label in labels])
    return np.asarray((probabilities / worth).argmax(axis=1))
