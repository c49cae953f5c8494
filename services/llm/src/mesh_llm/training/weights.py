"""From a quantised GGUF file to a folder of plain weights that an engine serves."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    PreTrainedTokenizerBase,
)

FILES: Final = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
)
"""What an engine needs of a model."""
# Ends a document in what Qwen was pretrained on; a chat ends with the tokenizer's own end.
_END_OF_TEXT: Final = "<|endoftext|>"


@dataclass(frozen=True, slots=True)
class Dequantised:
    """A model as plain weights.

    Attributes:
        files: by their names.
        parameters: how many the model has.
        context_tokens: the longest input that it was trained for.
    """

    files: dict[str, Path]
    parameters: int
    context_tokens: int


def dequantise(gguf: Path, folder: Path) -> Dequantised:
    """Writes the weights of a GGUF file as bfloat16, with its tokenizer and chat template.

    The values are those of the quantised file: what the quantisation lost does not come back.

    Args:
        gguf: the file.
        folder: an empty one for what is written.
    """
    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    model: Any = AutoModelForCausalLM.from_pretrained(
        **source, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    # It would refuse to save what it believes to be quantised still.
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    # A plain folder has one file of weights, which a version names.
    model.save_pretrained(folder, max_shard_size="100GB")
    tokenizer: Any = AutoTokenizer.from_pretrained(**source)
    # The template stands in the tokenizer's configuration: a version holds no file of templates.
    tokenizer.save_pretrained(folder, save_jinja_files=False)
    _write_generation(tokenizer, folder)
    return Dequantised(
        files={name: folder / name for name in FILES},
        parameters=sum(each.numel() for each in model.parameters()),
        context_tokens=model.config.max_position_embeddings,
    )


def _write_generation(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Says which tokens end an answer, which a GGUF file has for one of them only."""
    ends = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(_END_OF_TEXT)]
    config = {"eos_token_id": ends, "pad_token_id": ends[-1]}
    path = folder / "generation_config.json"
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
