"""Embeddings of texts by the encoder as it was published, kept for the next training.

All trainings start from the same encoder, so its embeddings of the same texts are the same.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mesh_classifier.training.encoding import run_graph, tokenize
from mesh_classifier.training.identity import identity_of
from mesh_pipelines.training.sentence_encoder import POOLED, PooledEncoder, export_encoder
from meshkit.onnx import FloatArray, TextTokenizer

_ARRAY = "embeddings"
_IDENTITY = "identity"


def embed(
    encoder: PooledEncoder,
    tokenizer: TextTokenizer,
    texts: Sequence[str],
    folder: Path,
    title: str,
) -> FloatArray:
    """Embeds texts, or takes what an earlier call has left in the folder.

    Args:
        encoder: as it was published; nothing of it is trained yet.
        tokenizer: its tokenizer.
        texts: the texts.
        folder: keeps the embeddings and the exported encoder.
        title: of the progress bar.

    Returns:
        float32 [texts, width].
    """
    weights = {name: tensor.numpy() for name, tensor in encoder.state_dict().items()}
    identity = identity_of(weights, texts)
    path = folder / "embeddings.safetensors"
    if (kept := _read(path, identity)) is not None:
        return kept
    graph = folder / "encoder.onnx"
    export_encoder(encoder, graph)
    rows = tokenize(tokenizer, texts)
    (embeddings,) = run_graph(graph, {POOLED: 2}, rows, title=title)
    partial = path.with_suffix(".partial")
    save_file({_ARRAY: embeddings}, partial, {_IDENTITY: identity})
    partial.replace(path)
    return embeddings


def _read(path: Path, identity: str) -> FloatArray | None:
    try:
        with safe_open(path, framework="np") as file:
            if (file.metadata() or {}).get(_IDENTITY) != identity:
                return None
            return np.asarray(file.get_tensor(_ARRAY))
    except (FileNotFoundError, SafetensorError):
        return None
