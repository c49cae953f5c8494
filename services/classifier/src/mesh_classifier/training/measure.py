"""Measures the exported graphs: how good they are, and whether company changes an answer."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from mesh_classifier.calibration import Floats, choose_labels, probabilities
from mesh_classifier.training.data import Examples
from mesh_classifier.training.encoding import PAD_ID, Rows, run_graph, tokenize
from mesh_classifier.training.evaluate import describe, fit_temperature, fit_thresholds
from mesh_classifier.training.export import OUTPUTS
from mesh_classifier.training.network import apply_heads
from mesh_classifier.training.recipe import Outputs, Trained
from mesh_pipelines.splits import Part
from meshkit.onnx import TextTokenizer, pad

# INT8 is the default only if it flips fewer labels than this between a text alone and one with
# neighbours, and loses no more accuracy and macro-F1 than this against fp32.
MAX_FLIPPED = 0.01
MAX_LOSS = 0.01
# Texts in one run, when they have neighbours. Nobody may run a graph wider than it was measured.
MAX_BATCH_SIZE = 32
_INVARIANCE_TEXTS = 320
_PARITY_TEXTS = 32

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What turns logits into probabilities and labels."""

    temperature: float
    thresholds: dict[str, float]

    @classmethod
    def fit(cls, trained: Trained, validation: Examples) -> Self:
        """Fits both on the validation part."""
        logits = trained.validation.logits
        temperature = fit_temperature(logits, validation.labels)
        shares = probabilities(logits, temperature)
        return cls(temperature, fit_thresholds(shares, validation.labels))

    def describe(self, examples: Examples, outputs: Outputs) -> Figures:
        """Figures of what a graph answered."""
        return describe(examples, outputs, self.temperature, self.thresholds)


def measure(
    trained: Trained,
    graphs: Mapping[str, Path],
    tokenizer: TextTokenizer,
    examples: Mapping[Part, Examples],
) -> dict[str, Any]:
    """Calibrates and chooses the precision on validation, and measures on the test part.

    Args:
        trained: the network that the graphs were exported from.
        graphs: the files of the graphs by precision, `fp32` and `int8`.
        tokenizer: the tokenizer.
        examples: the parts of the data.

    Returns:
        The keys of the version's record that say how its graphs answer.
    """
    validation, test = examples[Part.VALIDATION], examples[Part.TEST]
    calibration = Calibration.fit(trained, validation)
    rows = tokenize(tokenizer, validation.texts)
    invariance = {
        precision: measure_invariance(graph, rows[:_INVARIANCE_TEXTS], calibration)
        for precision, graph in graphs.items()
    }
    default = choose_precision(
        calibration.describe(validation, trained.validation),
        calibration.describe(validation, _answer(graphs["int8"], rows, "validate int8")),
        invariance["int8"]["flipped_share"],
    )
    parity = measure_parity(trained, graphs["fp32"], rows[:_PARITY_TEXTS])
    rows = tokenize(tokenizer, test.texts)
    metrics = {
        precision: calibration.describe(test, _answer(graph, rows, f"test {precision}"))
        for precision, graph in graphs.items()
    }
    return {
        **asdict(calibration),
        "default_precision": default,
        "metrics": metrics[default],
        "metrics_by_precision": metrics,
        "batch_invariance": invariance,
        "parity": parity,
    }


def choose_precision(fp32: Figures, int8: Figures, flipped_share: float) -> str:
    """INT8 where it answers alike in any company and loses next to nothing, else fp32."""
    losses = [fp32[name] - int8[name] for name in ("accuracy", "macro_f1")]
    return "int8" if flipped_share < MAX_FLIPPED and max(losses) <= MAX_LOSS else "fp32"


def measure_invariance(graph: Path, rows: Rows, calibration: Calibration) -> Figures:
    """How much answers change between a text alone and one with neighbours of other lengths."""

    def answers(batch_size: int) -> Floats:
        # In the order of the data, which has no order of lengths.
        order = np.arange(len(rows))
        logits, _ = run_graph(graph, OUTPUTS, rows, batch_size=batch_size, order=order)
        return probabilities(logits, calibration.temperature)

    alone, together = answers(1), answers(MAX_BATCH_SIZE)
    flipped = choose_labels(alone, calibration.thresholds) != choose_labels(
        together, calibration.thresholds
    )
    return {
        "max_batch_size": MAX_BATCH_SIZE,
        "texts": len(rows),
        "flipped_share": float(flipped.mean()),
        "max_probability_change": float(np.abs(alone - together).max()),
    }


def _answer(graph: Path, rows: Rows, title: str) -> Outputs:
    return Outputs(*run_graph(graph, OUTPUTS, rows, title=title))


def measure_parity(trained: Trained, graph: Path, rows: Rows) -> Figures:
    """The largest differences between the exported fp32 graph and torch, in one padded batch."""
    logits, valences = run_graph(graph, OUTPUTS, rows, batch_size=len(rows))
    inputs = [torch.from_numpy(array) for array in pad(rows, PAD_ID)]
    with torch.inference_mode():
        expected = apply_heads(trained.heads, trained.encoder(*inputs))
    return {
        "texts": len(rows),
        "max_logit_difference": float(np.abs(logits - expected[0].numpy()).max()),
        "max_valence_difference": float(np.abs(valences - expected[1].numpy()).max()),
    }
