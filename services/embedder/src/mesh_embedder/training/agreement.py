"""How well an exported graph agrees with the reference implementation."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from mesh_embedder.inputs import Embedding, Input
from mesh_embedder.network import OUTPUTS, Config, Network
from mesh_embedder.training.reference import Reference
from meshkit import cpu
from meshkit.onnx import FloatArray, TextGraph, TextTokenizer

PRECISION: Final = "fp32"
"""Numeric precision of the graph."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What was measured.

    Attributes:
        texts: on how many.
        min_cosine: of the text whose embedding agrees least with the reference's.
        mean_cosine: over the texts.
        same_neighbour_share: of texts whose nearest other text is the same one.
        max_number_change: the largest difference of a number between a text alone and one in a run
            with others.
    """

    texts: int
    min_cosine: float
    mean_cosine: float
    same_neighbour_share: float
    max_number_change: float

    def record(self) -> dict[str, Any]:
        """The keys of the version's record that say so."""
        return {
            "metrics": {
                "texts": self.texts,
                "min_cosine": self.min_cosine,
                "mean_cosine": self.mean_cosine,
                "same_neighbour_share": self.same_neighbour_share,
            },
            "parity": {"max_cosine_difference": 1 - self.min_cosine},
            "batch_invariance": {PRECISION: {"max_number_change": self.max_number_change}},
        }


# So many are also embedded alone.
_ALONE: Final = 24
# As many as share a run where it is served, in the order of the texts, which has no order of
# lengths.
_BATCH_SIZE: Final = 16


def measure(
    graph: Path, tokenizer: Path, config: Path, reference: Reference, texts: Sequence[str]
) -> Agreement:
    """Compares the embeddings that serving gives with the reference's.

    Args:
        graph: to measure.
        tokenizer: its `tokenizer.json`.
        config: its `config.json`.
        reference: the reference implementation.
        texts: of many kinds and lengths.
    """
    expected = reference.embed(texts)
    network = _open(graph, tokenizer, config, expected.shape[1])
    together = _embed(network, texts, _BATCH_SIZE)
    alone = _embed(network, texts[:_ALONE], 1)
    cosines = np.sum(together.astype(np.float64) * expected, axis=1)
    same = _neighbours(together) == _neighbours(expected)
    return Agreement(
        texts=len(texts),
        min_cosine=float(cosines.min()),
        mean_cosine=float(cosines.mean()),
        same_neighbour_share=float(same.mean()),
        max_number_change=float(np.abs(together[:_ALONE] - alone).max()),
    )


def _open(graph: Path, tokenizer: Path, config: Path, dimensions: int) -> Network:
    read = msgspec.json.decode(config.read_bytes(), type=Config)
    return Network(
        TextGraph(graph, OUTPUTS, cpu.threads()),
        TextTokenizer(tokenizer, read.max_length),
        read,
        dimensions,
    )


def _embed(network: Network, texts: Sequence[str], batch_size: int) -> FloatArray:
    width, length = network.dimensions, network.max_length
    inputs = [Input(text, width, length, truncate=True) for text in texts]
    answers = [
        answer
        for start in range(0, len(inputs), batch_size)
        for answer in network.embed(length, inputs[start : start + batch_size])
    ]
    return np.stack([answer.values for answer in answers if isinstance(answer, Embedding)])


def _neighbours(vectors: FloatArray) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
    """The place of each text's nearest other one."""
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -1)
    nearest: np.ndarray[tuple[int], np.dtype[np.intp]] = similar.argmax(axis=1)
    return nearest
