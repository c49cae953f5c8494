"""What decides on the precision, and the answers of the real graphs in company."""

from collections.abc import Mapping

import pytest

from mesh_classifier.training.data import Examples
from mesh_classifier.training.encoding import tokenize
from mesh_classifier.training.measure import Calibration, choose_precision, measure_invariance
from mesh_pipelines.splits import Part
from meshkit.onnx import TextTokenizer
from training.conftest import Trained


@pytest.mark.parametrize(
    ("losses", "flipped", "precision"),
    [
        ({"accuracy": 0.0, "macro_f1": 0.0}, 0.0, "int8"),
        ({"accuracy": 0.005, "macro_f1": 0.01}, 0.009, "int8"),
        ({"accuracy": 0.0, "macro_f1": 0.0}, 0.01, "fp32"),
        ({"accuracy": 0.02, "macro_f1": 0.0}, 0.0, "fp32"),
        ({"accuracy": 0.0, "macro_f1": 0.02}, 0.0, "fp32"),
        ({"accuracy": -0.2, "macro_f1": -0.3}, 0.5, "fp32"),
    ],
)
def test_int8_is_the_default_where_it_is_nearly_as_good_and_stable(
    losses: dict[str, float], flipped: float, precision: str
) -> None:
    assert choose_precision(losses, flipped) == precision


@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-5), ("int8", 1e-3)])
def test_neighbours_do_not_change_an_answer(
    trained: Trained,
    examples: Mapping[Part, Examples],
    tokenizer: TextTokenizer,
    precision: str,
    most: float,
) -> None:
    record = trained.version.record
    calibration = Calibration(record["temperature"], record["thresholds"])
    rows = tokenize(tokenizer, examples[Part.TEST].texts[::10])
    graph = trained.version.file(f"model.{precision}.onnx")
    figures = measure_invariance(graph, rows, calibration)
    assert figures["texts"] == len(rows) > 200
    assert figures["max_probability_change"] <= most
    assert figures["flipped_share"] < 0.01
