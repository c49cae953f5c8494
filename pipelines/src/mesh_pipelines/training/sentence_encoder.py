"""The sentence encoder with mean pooling: as it was published, and as a graph."""

import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import BertConfig, BertModel

INPUTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "input_ids": {"dtype": "INT64", "shape": ["batch", "length"]},
    "attention_mask": {"dtype": "INT64", "shape": ["batch", "length"]},
}
"""What a graph of it takes."""
POOLED: Final = "pooled_states"
"""What a graph of it gives by default. The exporter itself names values after operators, so that
"embedding" would be taken."""

_MAX_POSITIONS: Final = 512
# Published tensors that have no use here: a pooler for another task, and a constant.
_UNUSED: Final = ("pooler.", "embeddings.position_ids")


class PooledEncoder(nn.Module):
    """The encoder with mean pooling: token ids to one embedding for each text."""

    def __init__(self, encoder: BertModel) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embeds texts.

        Args:
            input_ids: int64 [batch, length].
            attention_mask: int64 [batch, length], 1 at tokens and 0 at padding.

        Returns:
            float32 [batch, width].
        """
        # A mask in this form is added to the scores as it is, which keeps the exported graph small.
        lowest = torch.finfo(torch.float32).min
        bias = torch.where(attention_mask[:, None, None, :] > 0, 0.0, lowest)
        states = self.encoder(input_ids=input_ids, attention_mask=bias).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(states.dtype)
        pooled: Tensor = (states * weights).sum(dim=1) / weights.sum(dim=1)
        return pooled


def load_encoder(config: Path, weights: Path) -> PooledEncoder:
    """Builds the encoder from its published configuration and weights."""
    settings = BertConfig.from_dict(json.loads(config.read_text(encoding="utf-8")))
    settings._attn_implementation = "eager"  # the form that exports to plain operators
    encoder = BertModel(settings, add_pooling_layer=False)
    state = {
        name: tensor for name, tensor in load_file(weights).items() if not name.startswith(_UNUSED)
    }
    encoder.load_state_dict(state)
    return PooledEncoder(encoder).eval()


def export_encoder(encoder: nn.Module, target: Path, output: str = POOLED) -> None:
    """Writes an encoder as a graph for any batch size and length.

    Args:
        encoder: a PooledEncoder, or a module of its inputs and one output.
        target: the file to write.
        output: how the graph calls what it gives.
    """
    # Two tensors: given one twice, the exporter takes both inputs for the same.
    example = tuple(torch.ones(2, 8, dtype=torch.int64) for _ in INPUTS)
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=_MAX_POSITIONS)}
    # The exporter reports on operators of packages that are not here, and on its own future.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            encoder,
            example,
            target,
            input_names=list(INPUTS),
            output_names=[output],
            dynamic_shapes=(sizes, sizes),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
