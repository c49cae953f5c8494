"""How systems are judged, against scikit-learn on the same texts."""

import numpy as np
import pytest
from sklearn import metrics

from mesh_classifier.training.data import NEGATIVE, NEUTRAL, POSITIVE, Examples
from mesh_classifier.training.measure import Calibration
from mesh_classifier.training.report.systems import Judge, System
from mesh_pipelines.rated_texts import RatedText

COUNT = 240
EQUAL = Calibration(1.0, {"negative": 1.0, "neutral": 1.0, "positive": 1.0})


@pytest.fixture(scope="module")
def examples() -> Examples:
    random = np.random.default_rng(0)
    return Examples.of(
        [
            RatedText(source, str(n), f"{source}/{n // 2}", f"text {n}", (int(rating),))
            for n, (source, rating) in enumerate(
                zip(
                    random.choice(["films", "tweets"], COUNT),
                    random.choice([-2, 0, 2], COUNT),
                    strict=True,
                )
            )
        ]
    )


def guessing(examples: Examples, seed: int, knowledge: float) -> System:
    """A system that is better the more it knows."""
    noise = np.random.default_rng(seed).normal(0, 1, (len(examples), 3))
    return System.calibrated(noise + knowledge * np.eye(3)[examples.labels], EQUAL)


def test_figures_are_those_of_scikit_learn(examples: Examples) -> None:
    system = guessing(examples, 1, 1.0)
    judged = Judge(examples, seed=1, count=20).judge(system)
    assert set(judged) == {"all", "films", "tweets"}
    for name, found in judged.items():
        chosen = (examples.sources == name) | (name == "all")
        truth, shares, labels = (
            examples.labels[chosen],
            system.shares[chosen],
            system.labels[chosen],
        )
        three = found.three_labels
        assert three.texts == chosen.sum()
        assert three.accuracy.value == pytest.approx(metrics.accuracy_score(truth, labels))
        f1 = metrics.f1_score(truth, labels, average="macro")
        assert three.macro_f1.value == pytest.approx(f1)
        area = metrics.roc_auc_score(truth, shares, multi_class="ovr", average="macro")
        assert three.roc_auc.value == pytest.approx(area)
        precision = metrics.average_precision_score(np.eye(3)[truth], shares, average="macro")
        assert three.pr_auc.value == pytest.approx(precision)


def test_the_binary_task_leaves_neutral_texts_and_answers_out(examples: Examples) -> None:
    system = guessing(examples, 2, 1.0)
    found = Judge(examples, seed=1, count=20).judge(system)["all"].binary
    polar = examples.labels != NEUTRAL
    truth = examples.labels[polar] == POSITIVE
    shares = system.shares[polar]
    assert found.texts == polar.sum()
    answers = shares[:, POSITIVE] > shares[:, NEGATIVE]
    assert found.accuracy.value == pytest.approx((answers == truth).mean())
    f1 = metrics.f1_score(truth, answers, average="macro")
    assert found.macro_f1.value == pytest.approx(f1)
    score = shares[:, POSITIVE] / (shares[:, POSITIVE] + shares[:, NEGATIVE])
    assert found.roc_auc.value == pytest.approx(metrics.roc_auc_score(truth, score))
    precision = metrics.average_precision_score(truth, score)
    assert found.pr_auc.value == pytest.approx(precision)


def test_a_threshold_moves_both_tasks() -> None:
    logits = np.log([[0.3, 0.3, 0.4], [0.5, 0.1, 0.4]])
    lower = Calibration(1.0, {"negative": 0.2, "neutral": 0.5, "positive": 0.5})
    assert System.calibrated(logits, EQUAL).labels.tolist() == [POSITIVE, NEGATIVE]
    assert System.calibrated(logits, lower).labels.tolist() == [NEGATIVE, NEGATIVE]
    assert System.calibrated(logits, EQUAL).polar.tolist() == [POSITIVE, NEGATIVE]
    assert System.calibrated(logits, lower).polar.tolist() == [NEGATIVE, NEGATIVE]


def test_a_better_system_is_better_by_the_same_drawings(examples: Examples) -> None:
    judge = Judge(examples, seed=1, count=400)
    better, worse = guessing(examples, 3, 2.5), guessing(examples, 4, 0.5)
    gap = judge.compare(better, worse)["all"]
    difference = np.mean(better.labels == examples.labels) - np.mean(
        worse.labels == examples.labels
    )
    assert gap.accuracy.value == pytest.approx(difference)
    assert gap.accuracy.low is not None
    assert gap.accuracy.high is not None
    assert 0 < gap.accuracy.low < difference < gap.accuracy.high
    assert gap.accuracy.not_above == 0
    same = judge.compare(better, better)["all"]
    assert (same.macro_f1.value, same.macro_f1.low, same.macro_f1.high) == (0, 0, 0)
    assert same.macro_f1.not_above == 1
