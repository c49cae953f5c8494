"""The network that both recipes train: a sentence encoder, mean pooling, and two linear heads."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from mesh_classifier.calibration import LABELS, MAX_VALENCE

# Published tensors that have no use here: a pooler for another task, and a constant.
_UNUSED = ("pooler.", "embeddings.position_ids")


@dataclass(frozen=True, slots=True)
class Heads:
    """The two heads: logits of the labels, and the valence before tanh. All arrays are float32."""

    label_weight: npt.NDArray[np.float32]
    """Shape [width, labels]."""
    label_bias: npt.NDArray[np.float32]
    """Shape [labels]."""
    valence_weight: npt.NDArray[np.float32]
    """Shape [width, 1]."""
    valence_bias: npt.NDArray[np.float32]
    """Shape [1]."""


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


class SentimentNetwork(nn.Module):
    """Encoder and heads as one network, to be fine-tuned."""

    def __init__(self, encoder: PooledEncoder, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        width = encoder.encoder.config.hidden_size
        self.label = nn.Linear(width, len(LABELS))
        self.valence = nn.Linear(width, 1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [batch, labels] and valence [batch]; the inputs are those of the encoder."""
        embeddings = self.dropout(self.encoder(input_ids, attention_mask))
        valence = MAX_VALENCE * torch.tanh(self.valence(embeddings)).squeeze(-1)
        return self.label(embeddings), valence

    def heads(self) -> Heads:
        """The heads by themselves."""

        def array(tensor: Tensor) -> npt.NDArray[np.float32]:
            return np.ascontiguousarray(tensor.detach().numpy())

        return Heads(
            array(self.label.weight.T),
            array(self.label.bias),
            array(self.valence.weight.T),
            array(self.valence.bias),
        )


def apply_heads(heads: Heads, embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [batch, labels] and valence [batch] in [-4, 4] for embeddings [batch, width]."""
    logits = embeddings @ torch.from_numpy(heads.label_weight) + torch.from_numpy(heads.label_bias)
    raw = embeddings @ torch.from_numpy(heads.valence_weight) + torch.from_numpy(heads.valence_bias)
    return logits, MAX_VALENCE * torch.tanh(raw).squeeze(-1)
