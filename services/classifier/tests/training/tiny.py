"""A network small enough to be trained in a second, and texts that it can learn."""

from collections.abc import Callable

import numpy as np
import torch
from transformers import BertConfig, BertModel

from mesh_classifier.training.finetune import Answer, Tokenized
from mesh_classifier.training.full import calibrated_loss
from mesh_classifier.training.network import SentimentNetwork
from mesh_pipelines.training.sentence_encoder import PooledEncoder

# As many as the real tokenizer has.
VOCABULARY = 30_522
_WORDS = 60


def encoder(seed: int = 0) -> PooledEncoder:
    """An encoder of one layer with random weights."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=512,
    )
    config._attn_implementation = "eager"
    return PooledEncoder(BertModel(config, add_pooling_layer=False)).eval()


def network(seed: int = 0) -> SentimentNetwork:
    """The same with heads."""
    return SentimentNetwork(encoder(seed), dropout=0.1)


def texts(count: int, seed: int) -> tuple[Tokenized, np.ndarray]:
    """Texts of three kinds of words, with their labels: the kind that most words are of."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    rows = []
    for label in labels:
        length = int(random.integers(3, 20))
        kinds = np.where(random.random(length) < 0.8, label, random.integers(0, 3, length))
        rows.append((100 + kinds * _WORDS + random.integers(0, _WORDS, length)).tolist())
    return (
        Tokenized(
            rows,
            torch.from_numpy(np.eye(3)[labels]).float(),
            torch.from_numpy((labels - 1) * 2.0).float(),
        ),
        labels,
    )


def judged_on(validation: Tokenized, labels: np.ndarray) -> Callable[[Answer], float]:
    """The validation loss of a network on these texts."""
    return lambda answer: calibrated_loss(answer(validation.rows).logits, labels)
