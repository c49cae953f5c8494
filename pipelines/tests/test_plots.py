"""The plots: well-formed SVG that says what it was given, the same each time."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from mesh_pipelines import plots
from mesh_pipelines.bootstrap import Estimate
from mesh_pipelines.plots import PrecisionRecall
from mesh_pipelines.statistics import reliability

NAMES = ["negative", "neutral", "positive"]


def words(svg: str) -> list[str]:
    """What can be read in a plot."""
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    texts = (element.text or "" for element in root.iter() if element.tag.endswith("text"))
    return [text.strip() for text in texts]


def test_a_confusion_matrix_says_counts_and_shares_of_rows() -> None:
    said = words(plots.confusion(np.array([[30, 10, 0], [5, 5, 10], [0, 0, 0]]), NAMES))
    for expected in ("30", "75%", "25%", "50%", "0%", *NAMES, "answered"):
        assert expected in said


def test_a_reliability_diagram_names_each_state() -> None:
    random = np.random.default_rng(0)
    shares = random.dirichlet(np.ones(3), 200)
    diagram = reliability(random.integers(0, 3, 200), shares)
    said = words(plots.reliability({"before": diagram, "after": diagram}))
    assert {"before", "after", "calibrated"} <= set(said)


def test_a_precision_recall_curve_says_its_area() -> None:
    curve = PrecisionRecall([1.0, 0.8, 0.5], [0.2, 0.6, 1.0], 0.8125)
    assert "neutral (0.812)" in words(plots.precision_recall({"neutral": curve}))


def test_bars_stand_for_values_and_undefined_ones_for_nothing() -> None:
    known, unknown = Estimate(0.5, 0.4, 0.7), Estimate(None, None, None)
    svg = plots.bars({"ours": [known, unknown], "theirs": [known, known]}, ["a", "b"], "accuracy")
    assert {"ours", "theirs", "a", "b", "accuracy"} <= set(words(svg))


@pytest.mark.parametrize("times", [2])
def test_the_same_figures_give_the_same_text(times: int) -> None:
    matrix = np.array([[3, 1, 0], [0, 2, 0], [1, 0, 4]])
    first, *others = [plots.confusion(matrix, NAMES) for _ in range(times)]
    assert all(other == first for other in others)
    assert not re.search(r"\d{4}-\d\d-\d\dT", first), "a date would change with each drawing"
