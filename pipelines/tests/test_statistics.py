import math
import warnings

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics

from mesh_pipelines.statistics import (
    Curve,
    accuracy,
    calibration_error,
    confusion,
    cross_entropy,
    macro_f1,
    precision_recall_curve,
    reliability,
)
from mesh_pipelines.weighted import Floats, Labels

COUNT = 3
labels = st.integers(0, COUNT - 1)
label_pairs = st.lists(st.tuples(labels, labels), min_size=1, max_size=60)
sizes = st.integers(1, 80)
seeds = st.integers(0, 2**32 - 1)


def arrays(pairs: list[tuple[int, int]]) -> tuple[Labels, Labels]:
    """The truth and the predictions in pairs of both."""
    truth, predicted = zip(*pairs, strict=True)
    return np.array(truth, dtype=np.int64), np.array(predicted, dtype=np.int64)


def predictions(seed: int, size: int) -> tuple[Labels, Floats]:
    """Random labels and probabilities; some of these are sure."""
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.full(COUNT, 0.3), size)
    sure = generator.random(size) < 0.1
    probabilities[sure] = np.eye(COUNT)[generator.integers(0, COUNT, sure.sum())]
    return generator.integers(0, COUNT, size), probabilities


def test_figures_by_hand() -> None:
    truth = np.array([0, 0, 1, 1, 1, 2])
    predicted = np.array([0, 1, 1, 1, 0, 2])
    assert accuracy(truth, predicted) == 4 / 6
    assert confusion(truth, predicted, 3).tolist() == [[1, 1, 0], [1, 2, 0], [0, 0, 1]]
    assert macro_f1(truth, predicted, 3) == pytest.approx((2 / 4 + 4 / 6 + 2 / 2) / 3)


@given(label_pairs)
def test_accuracy_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = arrays(pairs)
    assert accuracy(truth, predicted) == pytest.approx(metrics.accuracy_score(truth, predicted))


@given(label_pairs)
def test_confusion_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = arrays(pairs)
    expected = metrics.confusion_matrix(truth, predicted, labels=range(COUNT))
    found = confusion(truth, predicted, COUNT)
    assert found.dtype == np.int64
    assert found.tolist() == expected.tolist()
    assert found.sum() == len(pairs)


@given(label_pairs)
def test_macro_f1_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = arrays(pairs)
    expected = metrics.f1_score(truth, predicted, average="macro")
    assert macro_f1(truth, predicted, COUNT) == pytest.approx(expected)


def test_macro_f1_leaves_out_a_label_that_never_occurs() -> None:
    truth, predicted = np.array([0, 1]), np.array([0, 1])
    assert macro_f1(truth, predicted, 3) == 1.0


def test_macro_f1_counts_a_label_that_is_only_predicted() -> None:
    truth, predicted = np.array([0, 0]), np.array([0, 2])
    assert macro_f1(truth, predicted, 3) == pytest.approx((2 / 3 + 0) / 2)


def brute_calibration_error(truth: Labels, probabilities: Floats, bins: int) -> float:
    """The definition, a bin at a time."""
    total = 0.0
    for number in range(bins):
        inside = [
            (max(row), int(np.argmax(row)) == label)
            for label, row in zip(truth, probabilities.tolist(), strict=True)
            if number < max(row) * bins <= number + 1
        ]
        if inside:
            confidence = sum(sure for sure, _ in inside) / len(inside)
            right = sum(hit for _, hit in inside) / len(inside)
            total += len(inside) / len(truth) * abs(right - confidence)
    return total


@given(seeds, sizes, st.integers(1, 20))
def test_calibration_error_follows_its_definition(seed: int, size: int, bins: int) -> None:
    truth, probabilities = predictions(seed, size)
    expected = brute_calibration_error(truth, probabilities, bins)
    assert calibration_error(truth, probabilities, bins) == pytest.approx(expected, abs=1e-12)


def test_calibration_error_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1, 0], [0.8, 0.2, 0], [0.45, 0.3, 0.25], [1, 0, 0]])
    truth = np.array([0, 1, 0, 0])
    # With 2 bins: one of 0.45 that is right, and one of 0.9, 0.8 and 1 with two right.
    expected = (abs(1 - 0.45) + abs(2 - 2.7)) / 4
    assert calibration_error(truth, probabilities, bins=2) == pytest.approx(expected)


def test_sure_and_right_is_calibrated() -> None:
    truth = np.array([0, 1, 2, 1])
    assert calibration_error(truth, np.eye(COUNT)[truth]) == 0


def test_sure_and_wrong_is_not() -> None:
    truth = np.array([0, 1, 2, 1])
    assert calibration_error(truth, np.eye(COUNT)[(truth + 1) % COUNT]) == 1


@given(seeds, sizes)
def test_cross_entropy_against_one_label_is_the_log_loss(seed: int, size: int) -> None:
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, COUNT, size)
    probabilities = generator.dirichlet(np.ones(COUNT), size)
    assume(probabilities.min() > 1e-12)
    expected = metrics.log_loss(truth, probabilities, labels=range(COUNT))
    assert cross_entropy(np.eye(COUNT)[truth], probabilities) == pytest.approx(expected)


def test_cross_entropy_against_shares_by_hand() -> None:
    targets = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    probabilities = np.array([[0.25, 0.5, 0.25], [0.5, 0.25, 0.25]])
    expected = (0.5 * math.log(4) + 0.5 * math.log(2) + math.log(4)) / 2
    assert cross_entropy(targets, probabilities) == pytest.approx(expected)


@given(seeds, sizes)
def test_cross_entropy_is_least_at_the_targets(seed: int, size: int) -> None:
    generator = np.random.default_rng(seed)
    targets, others = generator.dirichlet(np.ones(COUNT), (2, size))
    assert cross_entropy(targets, targets) <= cross_entropy(targets, others) + 1e-12


def test_cross_entropy_of_what_was_held_impossible_is_large_but_finite() -> None:
    found = cross_entropy(np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]]))
    assert found == pytest.approx(-math.log(np.finfo(np.float64).tiny))


def scored(seed: int, size: int) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Items with few different scores, at least one of them positive."""
    generator = np.random.default_rng(seed)
    positive = generator.random(size) < 0.4
    positive[generator.integers(0, size)] = True
    return positive, generator.integers(0, 10, size) / 10


@given(seeds, sizes)
def test_curve_is_that_of_scikit_learn(seed: int, size: int) -> None:
    positive, scores = scored(seed, size)
    precision, recall, thresholds = metrics.precision_recall_curve(positive, scores)
    curve = precision_recall_curve(positive, scores)
    assert curve.thresholds.tolist() == thresholds[::-1].tolist()
    # The last point there is one without a threshold.
    assert curve.precision == pytest.approx(precision[-2::-1])
    assert curve.recall == pytest.approx(recall[-2::-1])


@given(seeds, sizes)
def test_best_f1_is_the_best_of_all_thresholds(seed: int, size: int) -> None:
    positive, scores = scored(seed, size)
    f1_at = {
        threshold: metrics.f1_score(positive, scores >= threshold) for threshold in set(scores)
    }
    threshold, f1 = precision_recall_curve(positive, scores).best_f1()
    assert f1 == pytest.approx(max(f1_at.values()))
    assert f1_at[threshold] == pytest.approx(f1)
    better = [other for other in f1_at if other > threshold]
    assert all(f1_at[other] < f1 + 1e-12 for other in better)


def test_curve_by_hand() -> None:
    positive = np.array([True, False, True, False, True])
    curve = precision_recall_curve(positive, np.array([0.9, 0.8, 0.8, 0.4, 0.1]))
    assert curve.thresholds.tolist() == [0.9, 0.8, 0.4, 0.1]
    assert curve.precision.tolist() == [1, 2 / 3, 2 / 4, 3 / 5]
    assert curve.recall.tolist() == [1 / 3, 2 / 3, 2 / 3, 1]
    assert curve.best_f1() == pytest.approx((0.1, 2 * 0.6 / 1.6))


def test_highest_of_equally_good_thresholds_is_taken() -> None:
    curve = Curve(np.array([0.9, 0.5]), np.array([0.5, 1.0]), np.array([1.0, 0.5]))
    assert curve.best_f1() == pytest.approx((0.9, 2 / 3))


def test_threshold_that_finds_nothing_has_an_f1_of_zero() -> None:
    curve = precision_recall_curve(np.array([False, True]), np.array([0.9, 0.1]))
    assert curve.precision.tolist() == [0, 0.5]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert curve.best_f1() == pytest.approx((0.1, 2 / 3))


def test_a_reliability_diagram_by_hand() -> None:
    truth = np.array([0, 1, 0, 0])
    shares = np.array([[0.4, 0.3, 0.3], [0.8, 0.1, 0.1], [0.9, 0.05, 0.05], [1.0, 0.0, 0.0]])
    found = reliability(truth, shares, bins=4)
    # (0.25, 0.5] has one, (0.75, 1] three of which one is wrong; the other two bins are empty.
    assert found.counts.tolist() == [1, 3]
    assert found.confidence.tolist() == pytest.approx([0.4, 0.9])
    assert found.accuracy.tolist() == pytest.approx([1, 2 / 3])


@given(seeds, sizes)
def test_the_calibration_error_is_the_mean_gap_of_the_reliability_diagram(
    seed: int, size: int
) -> None:
    truth, shares = predictions(seed, size)
    found = reliability(truth, shares)
    gaps = np.abs(found.accuracy - found.confidence) * found.counts / found.counts.sum()
    assert calibration_error(truth, shares) == pytest.approx(gaps.sum())
