"""The quick recipe: the encoder as it was published, and heads trained on its embeddings."""

import numpy as np
from mesh_pipelines.splits import Part

from mesh_classifier.training.data import Examples
from mesh_classifier.training.encoding import run_graph, tokenize
from mesh_classifier.training.export import export_encoder
from mesh_classifier.training.heads import Sample, fit_heads
from mesh_classifier.training.recipe import Task, Trained

# Heads of some hundred weights learn little from more, and encoding takes most of the time.
TRAINING_TEXTS = 8_000


def train(task: Task) -> Trained:
    """Encodes a sample of the training texts and fits the heads on it."""
    graph = task.workspace / "encoder.onnx"
    export_encoder(task.encoder, graph)

    def embed(examples: Examples, title: str) -> Sample:
        rows = tokenize(task.tokenizer, examples.texts)
        (embeddings,) = run_graph(graph, rows, progress=title)
        return Sample(embeddings, examples.shares, examples.valences)

    chosen = _choose(task.examples[Part.TRAIN], task.seed)
    heads, penalties = fit_heads(
        train=embed(chosen, "encode training texts"),
        validation=embed(task.examples[Part.VALIDATION], "encode validation texts"),
    )
    return Trained(task.encoder, graph, heads, {"training_texts": len(chosen), **penalties})


def _choose(examples: Examples, seed: int) -> Examples:
    """A random sample of at most TRAINING_TEXTS."""
    count = min(TRAINING_TEXTS, len(examples))
    places = np.random.default_rng(seed).choice(len(examples), count, replace=False)
    return examples.select(np.sort(places))
