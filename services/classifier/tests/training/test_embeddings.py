"""Embeddings are computed once, and anew when anything they depend on has changed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mesh_classifier.training.embeddings import embed
from mesh_classifier.training.encoding import run_graph
from meshkit.onnx import FloatArray, TextTokenizer
from training import tiny

TEXTS = [
    "A delight.",
    "The battery died after two days and nobody answered.",
    "ok",
    "It is a film.",
]


def test_they_are_those_of_the_encoder(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    encoder = tiny.encoder()
    found = embed(encoder, tokenizer, TEXTS, tmp_path, "encode")
    for text, row in zip(TEXTS, found, strict=True):
        ids = torch.tensor([tokenizer.encode([text])[0].ids])
        with torch.inference_mode():
            expected = encoder(ids, torch.ones_like(ids)).numpy()[0]
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_they_are_kept_until_something_changes(
    tokenizer: TextTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []

    def run(*given: Any, **named: Any) -> list[FloatArray]:
        computed.append(given)
        return run_graph(*given, **named)

    monkeypatch.setattr("mesh_classifier.training.embeddings.run_graph", run)
    first = embed(tiny.encoder(), tokenizer, TEXTS, tmp_path, "encode")
    again = embed(tiny.encoder(), tokenizer, TEXTS, tmp_path, "encode")
    assert (first == again).all()
    assert len(computed) == 1
    fewer = embed(tiny.encoder(), tokenizer, TEXTS[1:], tmp_path, "encode")
    np.testing.assert_allclose(fewer, first[1:], atol=1e-5)
    assert len(computed) == 2
    other = embed(tiny.encoder(seed=1), tokenizer, TEXTS[1:], tmp_path, "encode")
    assert np.abs(other - fewer).max() > 0.1
    assert len(computed) == 3
    (tmp_path / "embeddings.safetensors").write_bytes(b"damaged")
    assert (embed(tiny.encoder(seed=1), tokenizer, TEXTS[1:], tmp_path, "x") == other).all()
    assert len(computed) == 4
