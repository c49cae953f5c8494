"""The quick recipe: the encoder as it was published, and heads trained on its embeddings."""

import numpy as np
import torch

from mesh_classifier.training.data import Examples
from mesh_classifier.training.encoding import run_graph, tokenize
from mesh_classifier.training.heads import Sample, fit_heads
from mesh_classifier.training.network import apply_heads
from mesh_classifier.training.recipe import Outputs, Task, Trained
from mesh_pipelines.splits import Part
from mesh_pipelines.training.sentence_encoder import POOLED, export_encoder

# Encoding takes most of the time, and heads of a thousand weights learn little from more.
TRAINING_TEXTS = 8_000


def train(task: Task) -> Trained:
    """Encodes a sample of the training texts and fits the heads on it."""
    graph = task.workspace / "encoder.onnx"
    task.say("exporting the encoder")
    export_encoder(task.encoder, graph)

    def embed(examples: Examples, title: str) -> Sample:
        rows = tokenize(task.tokenizer, examples.texts)
        (embeddings,) = run_graph(graph, {POOLED: 2}, rows, title=title)
        return Sample(embeddings, examples.shares, examples.valences)

    chosen = _choose(task.examples[Part.TRAIN], task.seed)
    training = embed(chosen, "encode training texts")
    validation = embed(task.examples[Part.VALIDATION], "encode validation texts")
    task.say("fitting the heads")
    heads, penalties = fit_heads(training, validation)
    logits, valences = apply_heads(heads, torch.from_numpy(validation.embeddings))
    return Trained(
        encoder=task.encoder,
        encoder_graph=graph,
        heads=heads,
        validation=Outputs(logits.numpy(), valences.numpy()),
        settings={"training_texts": len(chosen), **penalties},
    )


def _choose(examples: Examples, seed: int) -> Examples:
    """A random sample of at most TRAINING_TEXTS."""
    count = min(TRAINING_TEXTS, len(examples))
    places = np.random.default_rng(seed).choice(len(examples), count, replace=False)
    return examples.select(np.sort(places))
