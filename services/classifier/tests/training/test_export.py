"""The exported graph against independent arithmetic with the published weights, and torch."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from mesh_classifier.training.encoding import tokenize
from mesh_classifier.training.export import OUTPUTS
from mesh_pipelines.text_encoder import PAD_ID, WEIGHTS
from mesh_pipelines.training.sentence_encoder import PooledEncoder
from meshkit.onnx import TextGraph, TextTokenizer, pad
from reference import Reference
from support import TEXTS
from training.conftest import Trained


@pytest.fixture(scope="module")
def graph(trained: Trained) -> TextGraph:
    return TextGraph(trained.version.file("model.fp32.onnx"), OUTPUTS, threads=1)


class Published(Reference):
    """The reference computation with the encoder's numbers as they were published."""

    def __init__(self, graph: Path, weights: Path) -> None:
        super().__init__(graph)
        for name, tensor in load_file(weights).items():
            product = tensor.ndim == 2 and "embeddings" not in name
            self.constants[f"encoder.{name}"] = (tensor.T if product else tensor).astype(np.float64)


def test_the_graph_computes_the_published_network(
    graph: TextGraph, trained: Trained, sources: Mapping[str, Path], tokenizer: TextTokenizer
) -> None:
    reference = Published(trained.version.file("model.fp32.onnx"), sources[WEIGHTS])
    for row in tokenize(tokenizer, TEXTS):
        logits, valences = graph.run(*pad([row], PAD_ID))
        expected, valence = reference(list(row))
        np.testing.assert_allclose(logits[0], expected, rtol=0, atol=2e-5)
        assert valences[0] == pytest.approx(valence, abs=2e-5)


def test_any_batch_and_length_gives_what_torch_gives(
    graph: TextGraph, trained: Trained, encoder: PooledEncoder
) -> None:
    weights = Reference(trained.version.file("model.fp32.onnx")).constants
    random = np.random.default_rng(0)
    for batch, length in ((1, 3), (3, 1), (2, 256), (16, 17)):
        rows = [random.integers(1000, 20_000, random.integers(1, length + 1)) for _ in range(batch)]
        ids, mask = pad([row.tolist() for row in rows], PAD_ID)
        with torch.inference_mode():
            pooled = encoder(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
        logits, valences = graph.run(ids, mask)
        expected = pooled @ weights["label_weight"] + weights["label_bias"]
        np.testing.assert_allclose(logits, expected, rtol=0, atol=2e-5)
        raw = pooled @ weights["valence_weight"] + weights["valence_bias"]
        np.testing.assert_allclose(valences, 4 * np.tanh(raw[:, 0]), rtol=0, atol=2e-5)
