"""Each figure under each weighting, against scikit-learn's with the same weights."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from mesh_pipelines import weighted
from mesh_pipelines.weighted import Floats, Labels

COUNT = 3
seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(2, 60)


def case(seed: int, size: int) -> tuple[Labels, Labels, Floats, Floats]:
    """Truth, predictions, scores with ties, and five weightings with zeros."""
    random = np.random.default_rng(seed)
    truth, predicted = random.integers(0, COUNT, (2, size))
    scores = random.integers(0, 8, size) / 8
    weights = random.integers(0, 4, (5, size)).astype(np.float64)
    weights[0] = 1
    return truth, predicted, scores, weights


@given(seeds, sizes)
def test_accuracy(seed: int, size: int) -> None:
    truth, predicted, _, weights = case(seed, size)
    found = weighted.accuracy(truth, predicted, weights)
    for value, row in zip(found, weights, strict=True):
        if row.sum():
            expected = metrics.accuracy_score(truth, predicted, sample_weight=row)
            assert value == pytest.approx(expected)
        else:
            assert np.isnan(value)


@given(seeds, sizes)
def test_macro_f1_of_the_items_that_were_drawn(seed: int, size: int) -> None:
    truth, predicted, _, weights = case(seed, size)
    found = weighted.macro_f1(truth, predicted, COUNT, weights)
    for value, row in zip(found, weights, strict=True):
        if row.sum():
            drawn = row > 0
            expected = metrics.f1_score(
                truth[drawn], predicted[drawn], average="macro", sample_weight=row[drawn]
            )
            assert value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (weighted.roc_auc, metrics.roc_auc_score),
        (weighted.average_precision, metrics.average_precision_score),
    ],
)
@given(seed=seeds, size=sizes)
def test_areas(
    ours: Callable[..., Floats], theirs: Callable[..., float], seed: int, size: int
) -> None:
    truth, _, scores, weights = case(seed, size)
    positive = truth == 1
    found = ours(positive, scores, weights)
    for value, row in zip(found, weights, strict=True):
        if row[positive].sum() and row[~positive].sum():
            drawn = row > 0
            expected = theirs(positive[drawn], scores[drawn], sample_weight=row[drawn])
            assert value == pytest.approx(expected)


def test_an_area_without_positive_items_is_undefined() -> None:
    positive, scores = np.array([False, False]), np.array([0.1, 0.2])
    assert np.isnan(weighted.roc_auc(positive, scores, weighted.once(2))).all()
    assert np.isnan(weighted.average_precision(positive, scores, weighted.once(2))).all()


@given(seeds, sizes)
def test_a_weight_counts_an_item_so_many_times(seed: int, size: int) -> None:
    truth, _, _, weights = case(seed, size)
    shares = np.random.default_rng(seed).dirichlet(np.ones(COUNT), size)
    found = weighted.calibration_error(truth, shares, 10, weights)
    for value, row in zip(found, weights.astype(int), strict=True):
        if row.sum():
            again = np.repeat(np.arange(size), row)
            once = weighted.once(len(again))
            (expected,) = weighted.calibration_error(truth[again], shares[again], 10, once)
            assert value == pytest.approx(expected)


def test_the_calibration_error_by_hand() -> None:
    # Two bins of (0, 0.5] and (0.5, 1]: gaps 0.4 - 1 and 0.8 - 0, 0.9 - 1.
    truth = np.array([0, 1, 0])
    shares = np.array([[0.4, 0.3, 0.3], [0.8, 0.1, 0.1], [0.9, 0.05, 0.05]])
    weights = np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 1.0]])
    found = weighted.calibration_error(truth, shares, 2, weights)
    assert found.tolist() == pytest.approx([(0.6 + 0.7) / 3, (2 * 0.6 + 0.1) / 3])
