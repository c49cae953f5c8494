"""Low-rank adapters of a model's attention (LoRA), and their files.

Source: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2021. The files are laid out
as the library PEFT has them, which engines read.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from torch import nn

RANK: Final = 8
ALPHA: Final = 16
PROJECTIONS: Final = ("q_proj", "k_proj", "v_proj", "o_proj")
WEIGHTS: Final = "adapter_model.safetensors"
CONFIG: Final = "adapter_config.json"


class LowRank(nn.Module):
    """A linear layer with a correction of low rank, which is nothing at first.

    Args:
        linear: the layer, which does not learn.
        generator: of the first values.
    """

    def __init__(self, linear: nn.Linear, generator: torch.Generator) -> None:
        super().__init__()
        self.linear = linear
        bound = linear.in_features**-0.5
        down = torch.empty(RANK, linear.in_features).uniform_(-bound, bound, generator=generator)
        self.down = nn.Parameter(down)
        self.up = nn.Parameter(torch.zeros(linear.out_features, RANK))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The layer's output, corrected."""
        correction = inputs @ self.down.T @ self.up.T * (ALPHA / RANK)
        output: torch.Tensor = self.linear(inputs) + correction
        return output


def attach(model: Any, layers: int, seed: int) -> dict[str, LowRank]:
    """Puts adapters on the attention of a model's last layers; they alone learn from now on.

    Args:
        model: a causal model of transformers.
        layers: how many of the last.
        seed: of their first values.

    Returns:
        The adapters by the names of their layers.
    """
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    attached = {}
    blocks = model.model.layers
    for place in range(len(blocks) - layers, len(blocks)):
        attention = blocks[place].self_attn
        for name in PROJECTIONS:
            adapter = LowRank(getattr(attention, name), generator)
            setattr(attention, name, adapter)
            attached[f"model.layers.{place}.self_attn.{name}"] = adapter
    return attached


def learning(attached: dict[str, LowRank]) -> Iterator[nn.Parameter]:
    """What learns."""
    for adapter in attached.values():
        yield adapter.down
        yield adapter.up


def save(attached: dict[str, LowRank], base: str, folder: Path) -> dict[str, Path]:
    """Writes the adapters and returns their files by name.

    Args:
        attached: by the names of their layers.
        base: what the files call the model that they are for.
        folder: an empty one.
    """
    tensors = {}
    for name, adapter in attached.items():
        path = f"base_model.model.{name}"
        tensors[f"{path}.lora_A.weight"] = adapter.down.detach().contiguous()
        tensors[f"{path}.lora_B.weight"] = adapter.up.detach().contiguous()
    save_file(tensors, folder / WEIGHTS)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": RANK,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(PROJECTIONS),
        "layers_to_transform": sorted({int(name.split(".")[2]) for name in attached}),
        "inference_mode": True,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return {name: folder / name for name in (WEIGHTS, CONFIG)}
