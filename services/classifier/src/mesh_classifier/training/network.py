"""The network that both recipes train: a sentence encoder, mean pooling, and two linear heads."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mesh_classifier.calibration import LABELS, MAX_VALENCE
from mesh_pipelines.training.sentence_encoder import PooledEncoder


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
