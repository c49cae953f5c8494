"""From the published encoder to a version in the store."""

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from mesh_embedder.network import OUTPUTS
from mesh_embedder.training.agreement import PRECISION, Agreement, measure
from mesh_embedder.training.reference import Reference
from mesh_embedder.training.texts import measured_on, measuring_texts
from mesh_pipelines import text_encoder
from mesh_pipelines.errors import PipelineError
from mesh_pipelines.provenance import environment, git_commit
from mesh_pipelines.sources import Source
from mesh_pipelines.text_encoder import CONFIG, TOKENIZER, WEIGHTS
from mesh_pipelines.training.sentence_encoder import (
    INPUTS,
    PooledEncoder,
    export_encoder,
    load_encoder,
)
from meshkit.store_write import new_run_id, write_version

MODEL: Final = "embedder"
DIMENSIONS: Final = 384

MIN_COSINE: Final = 0.9999
"""A graph whose worst embedding agrees no better with the reference implementation is not saved."""

_LIBRARIES: Final = ("torch", "transformers", "onnx", "onnxruntime", "tokenizers", "numpy")


class UnitEncoder(nn.Module):
    """The encoder with embeddings of length 1."""

    def __init__(self, encoder: PooledEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embeds texts; the inputs are those of the encoder. float32 [batch, dimensions]."""
        unit: Tensor = normalize(self.encoder(input_ids, attention_mask), p=2.0, dim=-1)
        return unit


def build(
    source: Source, files: Mapping[str, Path], models: Path, say: Callable[[str], None]
) -> str:
    """Makes one version and returns its name.

    Args:
        source: of the encoder.
        files: its files by their names.
        models: the store's home folder.
        say: told in one line what comes next.

    Raises:
        PipelineError: the files are not as expected, or the export does not agree with the
            reference implementation.
        OSError: something can't be written.
    """
    torch.use_deterministic_algorithms(True)
    with tempfile.TemporaryDirectory(prefix="mesh-embedder-") as folder:
        workspace = Path(folder)
        say("exporting the encoder")
        graph = write_graph(files, workspace / "model.onnx")
        config = _write_config(workspace / "config.json")
        say("measuring how well it agrees with the reference implementation")
        texts = measuring_texts()
        agreement = measure(graph, files[TOKENIZER], config, Reference(files), texts)
        say(f"cosine {agreement.min_cosine:.7f} at worst over {len(texts)} texts")
        if agreement.min_cosine <= MIN_COSINE:
            raise PipelineError(
                f"the exported graph agrees with the reference implementation by a cosine of "
                f"{agreement.min_cosine} at worst, and {MIN_COSINE} is the least: nothing was "
                "saved; look for what changed in torch, transformers or ONNX Runtime"
            )
        parts = {
            "model.onnx": graph,
            "tokenizer.json": files[TOKENIZER],
            "config.json": config,
        }
        say(f"saving it in {models}")
        record = _record(source, agreement)
        labels = {"base": text_encoder.NAME}
        return write_version(models, MODEL, new_run_id(), parts, record, labels)


def write_graph(files: Mapping[str, Path], target: Path) -> Path:
    """Writes the encoder, with pooling and length 1, as a graph."""
    encoder = UnitEncoder(load_encoder(files[CONFIG], files[WEIGHTS])).eval()
    (output,) = OUTPUTS
    export_encoder(encoder, target, output)
    return target


def _write_config(path: Path) -> Path:
    """Writes what a server needs, beside the tokenizer, to make inputs from texts."""
    config = {
        "max_length": text_encoder.MAX_LENGTH,
        "pad_id": text_encoder.PAD_ID,
        "start_id": text_encoder.START_ID,
        "end_id": text_encoder.END_ID,
    }
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return path


def _record(source: Source, agreement: Agreement) -> dict[str, Any]:
    (output,) = OUTPUTS
    return {
        "base": text_encoder.NAME,
        "licence": source.licence,
        "dimensions": DIMENSIONS,
        # It was trained for this many alone: its first numbers by themselves mean little.
        "allowed_dimensions": [DIMENSIONS],
        "default_precision": PRECISION,
        "signature": {
            "inputs": INPUTS,
            "outputs": {output: {"dtype": "FP32", "shape": ["batch", DIMENSIONS]}},
        },
        **agreement.record(),
        "sources": {each.name: each.describe() for each in (source, measured_on())},
        "git_commit": git_commit(Path(__file__)),
        "settings": environment(_LIBRARIES),
    }
