"""What was wanted, and whether it is said to be met."""

import dataclasses

import pytest

from mesh_classifier.training.measure import Calibration, Measured
from mesh_classifier.training.report.figures import Advantage, Slice, Task
from mesh_classifier.training.report.goals import goals
from mesh_pipelines.bootstrap import Difference, Estimate

MEASURED = Measured(
    calibration=Calibration(1.0, {}),
    default_precision="int8",
    losses={"accuracy": 0.004, "macro_f1": -0.001},
    invariance={"int8": {"flipped_share": 0.0}},
    parity={},
    answers={},
    metrics={},
)


def slices(f1: float, error: float = 0.02) -> dict[str, Slice]:
    value = Estimate(f1, f1 - 0.01, f1 + 0.01)
    task = Task(100, value, value, value, value)
    part = Slice(task, task, Estimate(error, error, error))
    return {"all": part, "films": part}


def advantage(gap: float) -> dict[str, Advantage]:
    difference = Difference(gap, gap - 0.02, gap + 0.02, 0.0)
    return {"films": Advantage(difference, difference, difference)}


def judged(ours: float, vader: float, tf_idf: float, error: float = 0.02) -> dict[str, bool]:
    found = goals(
        slices(ours, error),
        {"VADER": slices(vader), "TF-IDF": slices(tf_idf)},
        {"VADER": advantage(ours - vader), "TF-IDF": advantage(ours - tf_idf)},
        MEASURED,
    )
    return {goal.name: goal.met for goal in found}


def test_the_model_is_held_against_the_better_baseline() -> None:
    assert judged(0.80, 0.60, 0.70)["binary macro-F1 on films against the better baseline (TF-IDF)"]
    met = judged(0.80, 0.76, 0.70)
    assert not met["binary macro-F1 on films against the better baseline (VADER)"]


@pytest.mark.parametrize(("error", "met"), [(0.05, True), (0.0501, False)])
def test_the_calibration_error_is_bounded(error: float, met: bool) -> None:
    assert judged(0.8, 0.6, 0.7, error)["expected calibration error"] is met


def test_int8_is_told_by_its_losses() -> None:
    fp32 = dataclasses.replace(MEASURED, default_precision="fp32")
    arguments = (slices(0.8), {"VADER": slices(0.6)}, {"VADER": advantage(0.2)})
    (*_, chosen), (*_, refused) = goals(*arguments, MEASURED), goals(*arguments, fp32)
    assert chosen.met
    assert not refused.met
    assert chosen.measured == "loses 0.4 points of accuracy, -0.1 points of macro f1; 0.00% flipped"
