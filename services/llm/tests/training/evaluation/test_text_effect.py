"""What rounding does is measured against the weights as they are, which stay what they were."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import pre_tokenizers
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

from mesh_llm.training.evaluation import text_effect
from mesh_llm.training.evaluation.quantise import INT4, INT8


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model with weights of chance, and a tokenizer of single characters."""
    torch.manual_seed(5)
    tokenizer: Any = Qwen2Tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: place for place, character in enumerate(alphabet)}
    made = tokenizer(vocab=vocabulary, merges=[])
    made.save_pretrained(tmp_path)
    config = Qwen2Config(
        vocab_size=len(made),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        initializer_range=0.3,
    )
    model: Any = Qwen2ForCausalLM(config)
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    return tmp_path


def test_a_coarser_form_changes_more(folder: Path) -> None:
    text = "".join(chr(97 + number * number % 23) for number in range(600))
    said: list[str] = []
    plain, bytes_, halves = text_effect.measure(folder, text, [INT8, INT4], 5, said.append)
    # 600 characters have room for two whole pieces.
    assert plain.tokens == bytes_.tokens == halves.tokens == 2 * text_effect.WINDOW
    assert plain.same_likeliest == 1.0
    assert 1.0 > bytes_.same_likeliest > halves.same_likeliest > 0.3
    assert plain.perplexity > 1
    assert bytes_.perplexity == pytest.approx(plain.perplexity, rel=0.1)
    assert [line.rpartition(" ")[2] for line in said[1:]] == ["INT8", "INT4"]
    again, *_ = text_effect.measure(folder, text, [], 5, said.append)
    assert again == plain
