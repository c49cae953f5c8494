"""Measures the exported graphs: how good they are, whether a batch changes answers, which one to serve."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mesh_pipelines.splits import Part
from tokenizers import Tokenizer

from mesh_classifier.training.data import Examples
from mesh_classifier.training.encoding import Rows, pad, run_graph, tokenize
from mesh_classifier.training.evaluate import (
    Outputs,
    describe,
    fit_temperature,
    fit_thresholds,
    softmax,
)
from mesh_classifier.training.network import apply_heads
from mesh_classifier.training.recipe import Trained

WIDE_BATCH = 32
# How many texts of a run each graph may take: the scale of INT8 activations spans a whole run.
MAX_BATCH_SIZE = {"fp32": WIDE_BATCH, "int8": 1}
# INT8 is the default only if it flips fewer labels than this between narrow and wide batches, in the form
# in which it is run ...
_MAX_FLIPPED = 0.01
# ... and loses no more accuracy and macro-F1 than this against fp32.
_MAX_LOSS = 0.01
_INVARIANCE_TEXTS = 640
_PARITY_TEXTS = 64

Figures = dict[str, float]


def measure(
    trained: Trained,
    graphs: Mapping[str, Path],
    tokenizer: Tokenizer,
    examples: Mapping[Part, Examples],
) -> dict[str, Any]:
    """Calibrates on validation, measures on test, and chooses the precision to serve by default.

    Args:
        trained: the network that the graphs were exported from.
        graphs: the files of the graphs by precision, `fp32` and `int8`.
        tokenizer: the tokenizer.
        examples: the parts of the data.

    Returns:
        The keys of the version's record that say how its graphs answer.
    """
    validation, test = examples[Part.VALIDATION], examples[Part.TEST]
    rows = tokenize(tokenizer, validation.texts)
    validated = answer(graphs["fp32"], rows, title="fp32 on validation texts")
    temperature = fit_temperature(validated.logits, validation.labels)
    probabilities = softmax(validated.logits / temperature)
    rows = tokenize(tokenizer, test.texts)
    metrics, invariance = {}, {}
    for precision, graph in graphs.items():
        size = MAX_BATCH_SIZE[precision]
        answers = answer(graph, rows, size, title=f"{precision} on test texts")
        metrics[precision] = describe(test, answers, temperature)
        invariance[precision] = measure_invariance(graph, rows[:_INVARIANCE_TEXTS], size, temperature)
    default = choose_precision(metrics, invariance)
    return {
        "temperature": temperature,
        "thresholds": fit_thresholds(probabilities, validation.labels),
        "default_precision": default,
        "metrics": metrics[default],
        "metrics_by_precision": metrics,
        "batch_invariance": invariance,
        "parity": measure_parity(trained, graphs["fp32"], rows[:_PARITY_TEXTS]),
    }


def choose_precision(metrics: Mapping[str, Figures], invariance: Mapping[str, Figures]) -> str:
    """INT8 where it answers alike in any batch and loses next to nothing, else fp32."""
    losses = [metrics["fp32"][name] - metrics["int8"][name] for name in ("accuracy", "macro_f1")]
    good = invariance["int8"]["flipped_share"] < _MAX_FLIPPED and max(losses) <= _MAX_LOSS
    return "int8" if good else "fp32"


def measure_invariance(graph: Path, rows: Rows, max_batch_size: int, temperature: float) -> Figures:
    """How much answers change between a text alone and with neighbours, as the graph is to be run.

    Texts stand in the order of the data, so that neighbours have unlike lengths. The figures named
    `unbounded` let the graph have batches wider than it is to be run with.
    """
    alone = _probabilities(graph, rows, 1, temperature)
    wide = _probabilities(graph, rows, WIDE_BATCH, temperature)
    served = wide if max_batch_size > 1 else _probabilities(graph, rows, 1, temperature)
    return {
        "max_batch_size": max_batch_size,
        "texts": len(rows),
        **_change(alone, served, ""),
        **_change(alone, wide, "unbounded_"),
    }


def _change(first: np.ndarray, second: np.ndarray, prefix: str) -> Figures:
    flipped = first.argmax(axis=1) != second.argmax(axis=1)
    return {
        f"{prefix}flipped_share": float(flipped.mean()),
        f"{prefix}max_probability_change": float(np.abs(first - second).max()),
    }


def measure_parity(trained: Trained, graph: Path, rows: Rows) -> Figures:
    """The largest differences between the exported fp32 graph and torch, on padded batches."""
    logits, valences = run_graph(graph, rows)
    feeds = {name: torch.from_numpy(array) for name, array in pad(rows).items()}
    with torch.inference_mode():
        expected = apply_heads(trained.heads, trained.encoder(**feeds))
    return {
        "texts": len(rows),
        "max_logit_difference": float(np.abs(logits - expected[0].numpy()).max()),
        "max_valence_difference": float(np.abs(valences - expected[1].numpy()).max()),
    }


def answer(graph: Path, rows: Rows, batch_size: int = WIDE_BATCH, title: str | None = None) -> Outputs:
    """What a graph answers to texts of like length side by side."""
    logits, valences = run_graph(graph, rows, batch_size=batch_size, progress=title)
    return Outputs(logits.astype(np.float64), valences.astype(np.float64))


def _probabilities(graph: Path, rows: Rows, batch_size: int, temperature: float) -> np.ndarray:
    logits, _ = run_graph(graph, rows, batch_size=batch_size, order=np.arange(len(rows)))
    return softmax(logits.astype(np.float64) / temperature)
