"""Measures the exported graphs: how good they are, and whether company changes an answer."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from mesh_classifier.calibration import Floats, choose_labels, probabilities
from mesh_classifier.training.data import Examples
from mesh_classifier.training.encoding import Rows, run_graph, tokenize
from mesh_classifier.training.evaluate import describe, fit_temperature, fit_thresholds
from mesh_classifier.training.export import OUTPUTS
from mesh_classifier.training.network import apply_heads
from mesh_classifier.training.recipe import Outputs, Trained
from mesh_pipelines.splits import Part
from mesh_pipelines.text_encoder import PAD_ID
from mesh_pipelines.weighted import Labels
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
    def fit(cls, logits: npt.NDArray[np.floating], labels: Labels) -> Self:
        """Fits both on validation texts.

        Args:
            logits: what was answered, [n, labels].
            labels: the true ones, as indices; each occurs.
        """
        temperature = fit_temperature(logits, labels)
        return cls(temperature, fit_thresholds(probabilities(logits, temperature), labels))

    def describe(self, examples: Examples, outputs: Outputs) -> Figures:
        """Figures of what a graph answered."""
        return describe(examples, outputs, self.temperature, self.thresholds)


@dataclass(frozen=True, slots=True)
class Measured:
    """How the graphs of a version answer.

    Attributes:
        calibration: fitted on validation.
        default_precision: the one to serve.
        losses: what INT8 loses against fp32 on validation, by figure.
        invariance: by precision, how much company changes an answer.
        parity: the largest differences between the fp32 graph and torch.
        answers: by precision, what the graph answers to the test part.
        metrics: by precision, figures of those answers.
    """

    calibration: Calibration
    default_precision: str
    losses: Figures
    invariance: Mapping[str, Figures]
    parity: Figures
    answers: Mapping[str, Outputs]
    metrics: Mapping[str, Figures]

    def record(self) -> dict[str, Any]:
        """The keys of the version's record that say so."""
        return {
            **asdict(self.calibration),
            "default_precision": self.default_precision,
            "int8_losses": self.losses,
            "metrics": self.metrics[self.default_precision],
            "metrics_by_precision": dict(self.metrics),
            "batch_invariance": dict(self.invariance),
            "parity": self.parity,
        }


def measure(
    trained: Trained,
    graphs: Mapping[str, Path],
    tokenizer: TextTokenizer,
    examples: Mapping[Part, Examples],
) -> Measured:
    """Calibrates and chooses the precision on validation, and measures on the test part.

    Args:
        trained: the network that the graphs were exported from.
        graphs: the files of the graphs by precision, `fp32` and `int8`.
        tokenizer: the tokenizer.
        examples: the parts of the data.
    """
    validation, test = examples[Part.VALIDATION], examples[Part.TEST]
    calibration = Calibration.fit(trained.validation.logits, validation.labels)
    rows = tokenize(tokenizer, validation.texts)
    invariance = {
        precision: measure_invariance(graph, rows[:_INVARIANCE_TEXTS], calibration)
        for precision, graph in graphs.items()
    }
    losses = _losses(
        calibration.describe(validation, trained.validation),
        calibration.describe(validation, _answer(graphs["int8"], rows, "validate int8")),
    )
    test_rows = tokenize(tokenizer, test.texts)
    answers = {
        precision: _answer(graph, test_rows, f"test {precision}")
        for precision, graph in graphs.items()
    }
    return Measured(
        calibration=calibration,
        default_precision=choose_precision(losses, invariance["int8"]["flipped_share"]),
        losses=losses,
        invariance=invariance,
        parity=measure_parity(trained, graphs["fp32"], rows[:_PARITY_TEXTS]),
        answers=answers,
        metrics={name: calibration.describe(test, each) for name, each in answers.items()},
    )


def choose_precision(losses: Figures, flipped_share: float) -> str:
    """INT8 where it answers alike in any company and loses next to nothing, else fp32."""
    sound = flipped_share < MAX_FLIPPED and max(losses.values()) <= MAX_LOSS
    return "int8" if sound else "fp32"


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


def _answer(graph: Path, rows: Rows, title: str) -> Outputs:
    return Outputs(*run_graph(graph, OUTPUTS, rows, title=title))


def _losses(fp32: Figures, int8: Figures) -> Figures:
    return {name: fp32[name] - int8[name] for name in ("accuracy", "macro_f1")}
