"""Calibration and figures on answers whose properties are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_classifier.calibration import LABELS, choose_labels, probabilities
from mesh_classifier.training.data import Examples
from mesh_classifier.training.evaluate import describe, fit_temperature, fit_thresholds
from mesh_classifier.training.recipe import Outputs
from mesh_pipelines.rated_texts import RatedText


def drawn(seed: int, count: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are too sure by a factor, and labels drawn from the probabilities meant."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (count, 3))
    shares = probabilities(logits, 1.0)
    labels = (shares.cumsum(axis=1) < random.random((count, 1))).sum(axis=1)
    return logits * temperature, labels


@pytest.mark.parametrize("temperature", [0.25, 1.0, 3.0])
def test_the_temperature_that_was_put_in_is_found(temperature: float) -> None:
    logits, labels = drawn(0, 20_000, temperature)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.05)


@given(st.integers(0, 10_000))
def test_no_other_temperature_fits_better(seed: int) -> None:
    logits, labels = drawn(seed, 60, 2.0)

    def loss(temperature: float) -> float:
        shares = probabilities(logits, temperature)
        return float(-np.log(shares[np.arange(60), labels]).mean())

    best = loss(fit_temperature(logits, labels))
    assert all(best <= loss(other) + 1e-9 for other in np.geomspace(0.06, 20, 60))


def test_a_threshold_is_where_calling_a_label_gives_the_best_f1() -> None:
    logits, labels = drawn(1, 300, 1.0)
    shares = probabilities(logits, 1.0)
    for index, name in enumerate(LABELS):

        def f1(threshold: float, index: int = index) -> float:
            called, meant = shares[:, index] >= threshold, labels == index
            return float(2 * np.sum(called & meant) / (called.sum() + meant.sum()))

        found = f1(fit_thresholds(shares, labels)[name])
        assert found == pytest.approx(max(map(f1, shares[:, index])))


def rated(*texts: tuple[str, int]) -> Examples:
    """Texts of these sources, each with one rating."""
    return Examples.of(
        [
            RatedText(source, str(index), f"{source}/{index}", "text", (valence,))
            for index, (source, valence) in enumerate(texts)
        ]
    )


def test_figures_by_hand() -> None:
    examples = rated(("films", -2), ("films", 0), ("tweets", 2), ("tweets", 3))
    # Sure of negative, positive, positive and negative: right, wrong, right, wrong.
    logits = 50 * np.eye(3, dtype=np.float32)[[0, 2, 2, 0]]
    answers = Outputs(logits, np.array([-1.0, 0.0, 2.0, 1.0], dtype=np.float32))
    figures = describe(examples, answers, 1.0, dict.fromkeys(LABELS, 0.5))
    assert figures == {
        "accuracy": 0.5,
        "macro_f1": pytest.approx((2 / 3 + 0 + 1 / 2) / 3),
        "binary_macro_f1": pytest.approx((2 / 3 + 2 / 3) / 2),
        "calibration_error": pytest.approx(0.5),
        "valence_mean_absolute_error": pytest.approx(0.75),
        "texts": 4,
        "films_accuracy": 0.5,
        "films_macro_f1": pytest.approx((1 + 0 + 0) / 3),
        "films_binary_macro_f1": 1.0,
        "tweets_accuracy": 0.5,
        "tweets_macro_f1": pytest.approx((0 + 2 / 3) / 2),
        "tweets_binary_macro_f1": pytest.approx((0 + 2 / 3) / 2),
    }


def test_figures_are_of_the_labels_that_thresholds_choose() -> None:
    logits, labels = drawn(2, 400, 1.0)
    thresholds = {"negative": 0.5, "neutral": 0.1, "positive": 0.5}
    examples = rated(*(("films", valence) for valence in np.array([-2, 0, 2])[labels].tolist()))
    answers = Outputs(logits.astype(np.float32), np.zeros(400, dtype=np.float32))
    chosen = choose_labels(probabilities(answers.logits, 1.0), thresholds)
    figures = describe(examples, answers, 1.0, thresholds)
    assert figures["accuracy"] == pytest.approx((chosen == labels).mean())
