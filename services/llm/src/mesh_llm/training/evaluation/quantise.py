"""Rounds the weights of a model and writes them as an engine reads them (compressed-tensors).

Round to nearest, no calibration: what any user gets in seconds, and the floor of what calibrated
methods reach. Only the linear layers of the blocks are rounded; embeddings and the head, which are
one matrix here, stay as they are.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file, save_file

_WEIGHTS: Final = "model.safetensors"
_CONFIG: Final = "config.json"
_SUFFIX: Final = "_proj.weight"
_PACKED: Final = 8
"""Values of 4 bits in an int32."""


@dataclass(frozen=True, slots=True)
class Form:
    """How weights are rounded.

    Attributes:
        name: such as `INT8`.
        bits: of a weight.
        group: weights in a row of the matrix that share a scale; None for the whole row.
        input_bits: what the inputs of a layer are rounded to, token by token; None for not at all.
        how: in words.
    """

    name: str
    bits: int
    group: int | None
    input_bits: int | None
    how: str


INT8: Final = Form(
    "INT8", 8, None, 8, "a scale for each output, inputs a scale for each token (W8A8)"
)
INT4: Final = Form("INT4", 4, 128, None, "a scale for each 128 weights, inputs in bf16 (W4A16)")


@dataclass(frozen=True, slots=True)
class Rounded:
    """A matrix that was rounded.

    Attributes:
        values: integers, of the matrix's shape.
        scales: one for each group; [rows, groups].
    """

    values: torch.Tensor
    scales: torch.Tensor

    def as_float(self, dtype: torch.dtype) -> torch.Tensor:
        """What the matrix has become."""
        rows, columns = self.values.shape
        grouped = self.values.float().view(rows, self.scales.shape[1], -1)
        return (grouped * self.scales.float().unsqueeze(2)).view(rows, columns).to(dtype)


def is_rounded(name: str) -> bool:
    """Whether a tensor of a model is one of those that are rounded."""
    return name.endswith(_SUFFIX)


def rounded(matrix: torch.Tensor, form: Form) -> Rounded:
    """Rounds a matrix to the nearest values of a form, symmetrically around zero."""
    rows, columns = matrix.shape
    grouped = matrix.float().view(rows, -1, form.group or columns)
    most = 2 ** (form.bits - 1) - 1
    scales = grouped.abs().amax(dim=2).clamp_min(1e-8) / most
    # The scale that is written is the one that is rounded by.
    scales = scales.to(torch.bfloat16)
    values = (grouped / scales.float().unsqueeze(2)).round().clamp(-most - 1, most)
    return Rounded(values.to(torch.int8).view(rows, columns), scales)


def rounded_inputs(inputs: torch.Tensor, bits: int) -> torch.Tensor:
    """The inputs of a layer as they become, a scale for each token."""
    most = 2 ** (bits - 1) - 1
    scales = inputs.abs().amax(dim=-1, keepdim=True).clamp_min(1e-8) / most
    outcome: torch.Tensor = (inputs / scales).round().clamp(-most - 1, most) * scales
    return outcome


def write(folder: Path, target: Path, form: Form) -> int:
    """Writes a model in a form; the bytes of its file of weights.

    Args:
        folder: of the model as it is.
        target: an empty one for what is written.
        form: how to round.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in load_file(folder / _WEIGHTS).items():
        if is_rounded(name):
            tensors |= _stored(name, rounded(tensor, form), form)
        else:
            tensors[name] = tensor
    save_file(tensors, target / _WEIGHTS, metadata={"format": "pt"})
    for path in folder.iterdir():
        if path.name not in (_WEIGHTS, _CONFIG) and path.is_file():
            shutil.copy(path, target)
    config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    config["quantization_config"] = _described(form)
    (target / _CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")
    return (target / _WEIGHTS).stat().st_size


def _stored(name: str, matrix: Rounded, form: Form) -> Mapping[str, torch.Tensor]:
    stem = name.removesuffix(".weight")
    scale = {f"{stem}.weight_scale": matrix.scales}
    if form.bits == 8:  # a byte
        return {name: matrix.values, **scale}
    shape = torch.tensor(matrix.values.shape, dtype=torch.int64)
    return {
        f"{stem}.weight_packed": _packed(matrix.values),
        f"{stem}.weight_shape": shape,
        **scale,
    }


def _packed(values: torch.Tensor) -> torch.Tensor:
    """Values of 4 bits, eight in an int32, the first in the lowest bits."""
    unsigned = (values.to(torch.int32) + 8).view(values.shape[0], -1, _PACKED)
    packed = torch.zeros(unsigned.shape[:2], dtype=torch.int32)
    for place in range(_PACKED):
        packed |= unsigned[:, :, place] << (4 * place)
    return packed


def _described(form: Form) -> dict[str, Any]:
    weights: dict[str, Any] = {
        "num_bits": form.bits,
        "type": "int",
        "symmetric": True,
        "dynamic": False,
    }
    if form.group is None:
        weights["strategy"] = "channel"
        kind = "int-quantized"
    else:
        weights |= {"strategy": "group", "group_size": form.group}
        kind = "pack-quantized"
    inputs: dict[str, Any] | None = None
    if form.input_bits:
        inputs = {"num_bits": form.input_bits, "type": "int", "symmetric": True}
        inputs |= {"dynamic": True, "strategy": "token"}
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs}
    return {
        "quant_method": "compressed-tensors",
        "format": kind,
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
    }
