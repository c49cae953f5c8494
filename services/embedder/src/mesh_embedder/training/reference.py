"""The reference implementation: transformers, then mean pooling and length 1, as published.

Source: the model card of sentence-transformers/all-MiniLM-L6-v2, "Usage (HuggingFace Transformers)"
(mean pooling over the attention mask, then L2 normalisation); texts end at 256 tokens, as the
model's own `sentence_bert_config.json` has it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import normalize
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
from transformers.utils import logging

from mesh_pipelines.text_encoder import CONFIG, MAX_LENGTH, TOKENIZER, WEIGHTS
from meshkit.onnx import FloatArray

_BATCH_SIZE = 32


class Reference:
    """The published encoder as its authors run it, in torch with their library.

    It shares no code with the export: weights, tokenizer and attention are the library's own.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        settings = BertConfig.from_dict(json.loads(files[CONFIG].read_text(encoding="utf-8")))
        folder = files[WEIGHTS].parent
        quieten: Any = logging.disable_progress_bar  # has no types
        quieten()
        model: Any = BertModel.from_pretrained(folder, config=settings)
        self._model = model.eval()
        fast: Any = PreTrainedTokenizerFast  # whose constructor has no types
        self._tokenizer = fast(
            tokenizer_file=str(files[TOKENIZER]),
            pad_token="[PAD]",  # noqa: S106  # fills up texts
        )

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Embeds texts; float32 [texts, dimensions], each of length 1."""
        parts = []
        for start in range(0, len(texts), _BATCH_SIZE):
            encoded = self._tokenizer(
                list(texts[start : start + _BATCH_SIZE]),
                padding=True,
                truncation=True,
                max_length=MAX_LENGTH,
                return_tensors="pt",
                return_token_type_ids=False,
            )
            with torch.inference_mode():
                states = self._model(**encoded).last_hidden_state
            mask = encoded["attention_mask"].unsqueeze(-1).expand(states.size()).float()
            pooled = torch.sum(states * mask, 1) / torch.clamp(mask.sum(1), min=1e-9)
            parts.append(normalize(pooled, p=2, dim=1))
        vectors: FloatArray = torch.cat(parts).numpy()
        return vectors
