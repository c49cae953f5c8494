"""From logits to probabilities and labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mesh_classifier.calibration import choose_labels, probabilities

LOGITS = arrays.arrays(np.float32, (4, 3), elements=st.floats(-1e4, 1e4, width=32))


@given(LOGITS, st.floats(0.05, 20))
def test_probabilities_sum_to_one_and_keep_the_order(
    logits: np.ndarray, temperature: float
) -> None:
    shares = probabilities(logits, temperature)
    assert shares.dtype == np.float64
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=0, atol=1e-12)
    assert ((shares >= 0) & (shares <= 1)).all()
    chosen = np.take_along_axis(shares, logits.argmax(axis=1)[:, None], axis=1)[:, 0]
    np.testing.assert_array_equal(chosen, shares.max(axis=1))


def test_probabilities_are_the_softmax_of_the_tempered_logits() -> None:
    powers = np.exp(np.array([0.5, -1.0, 1.0]))
    shares = probabilities(np.array([[1.0, -2.0, 2.0]], np.float32), temperature=2.0)
    np.testing.assert_allclose(shares[0], powers / powers.sum(), rtol=1e-12)


def test_a_higher_temperature_is_less_sure() -> None:
    logits = np.array([[3.0, 1.0, 0.0]])
    assert probabilities(logits, 4.0).max() < probabilities(logits, 1.0).max()


@pytest.mark.parametrize(
    ("shares", "label"),
    [((0.5, 0.3, 0.2), 1), ((0.7, 0.2, 0.1), 0), ((0.2, 0.2, 0.6), 2), ((0.0, 0.0, 1.0), 2)],
)
def test_the_label_exceeds_its_threshold_by_the_largest_factor(
    shares: tuple[float, ...], label: int
) -> None:
    thresholds = {"neutral": 0.2, "positive": 0.5, "negative": 0.5}
    assert choose_labels(np.array([shares]), thresholds).tolist() == [label]


def test_equal_thresholds_choose_the_most_probable() -> None:
    shares = np.random.default_rng(0).dirichlet([1, 1, 1], size=100)
    thresholds = dict.fromkeys(("negative", "neutral", "positive"), 0.4)
    np.testing.assert_array_equal(choose_labels(shares, thresholds), shares.argmax(axis=1))
