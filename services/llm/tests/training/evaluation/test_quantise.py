"""Rounded weights are the nearest ones, and are written as an engine reads them."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mesh_llm.training.evaluation import quantise
from mesh_llm.training.evaluation.quantise import INT4, INT8, Form

NAME = "model.layers.0.mlp.up_proj.weight"


def matrix(rows: int = 4, columns: int = 256) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float32)


@pytest.mark.parametrize(("form", "scales"), [(INT8, (4, 1)), (INT4, (4, 2))])
def test_no_weight_is_off_by_more_than_half_a_step(form: Form, scales: tuple[int, int]) -> None:
    plain = matrix()
    rounded = quantise.rounded(plain, form)
    assert rounded.scales.shape == scales
    steps = rounded.scales.float().repeat_interleave(256 // scales[1], dim=1)
    # The scale itself is rounded to bf16, which moves the ends of the range by 2^-8 of it.
    most = 2 ** (form.bits - 1) * 2**-8 + 0.5
    assert torch.all((rounded.as_float(torch.float32) - plain).abs() <= most * steps)


def test_a_row_of_zeros_stays_one() -> None:
    rounded = quantise.rounded(torch.zeros(2, 128), INT4)
    assert torch.all(rounded.as_float(torch.bfloat16) == 0)


def test_inputs_are_rounded_token_by_token() -> None:
    inputs = torch.tensor([[1.0, -127.0, 0.4], [0.0, 0.0, 0.0], [0.254, -0.001, 0.1]])
    rounded = quantise.rounded_inputs(inputs, 8)
    expected = torch.tensor([[1.0, -127.0, 0.0], [0.0, 0.0, 0.0], [0.254, 0.0, 0.1]])
    assert torch.allclose(rounded, expected, atol=1e-6)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    tensors = {NAME: matrix().bfloat16(), "model.norm.weight": torch.ones(4).bfloat16()}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text('{"hidden_size": 256}')
    (folder / "tokenizer.json").write_text("{}")
    return folder


def test_bytes_are_written_as_they_are(folder: Path, tmp_path: Path) -> None:
    size = quantise.write(folder, tmp_path, INT8)
    written = load_file(tmp_path / "model.safetensors")
    assert size == (tmp_path / "model.safetensors").stat().st_size
    assert written[NAME].dtype == torch.int8
    assert written["model.norm.weight"].dtype == torch.bfloat16
    scales = written[NAME.replace("weight", "weight_scale")].float()
    assert torch.allclose(written[NAME].float() * scales, matrix(), atol=0.05)


def test_halves_of_bytes_are_packed_eight_in_a_word(folder: Path, tmp_path: Path) -> None:
    quantise.write(folder, tmp_path, INT4)
    written = load_file(tmp_path / "model.safetensors")
    packed = written[NAME.replace("weight", "weight_packed")]
    assert packed.shape == (4, 32)
    places = [(packed >> (4 * place)) & 15 for place in range(8)]
    values = torch.stack(places, dim=2).view(4, 256) - 8
    expected = quantise.rounded(matrix().bfloat16(), INT4)
    assert torch.equal(values, expected.values.to(torch.int32))
    assert written[NAME.replace("weight", "weight_shape")].tolist() == [4, 256]


@pytest.mark.parametrize(
    ("form", "kind", "inputs"), [(INT8, "int-quantized", 8), (INT4, "pack-quantized", None)]
)
def test_the_configuration_says_how(
    folder: Path, tmp_path: Path, form: Form, kind: str, inputs: int | None
) -> None:
    quantise.write(folder, tmp_path, form)
    config = json.loads((tmp_path / "config.json").read_text())
    said = config["quantization_config"]
    assert (config["hidden_size"], said["format"], said["ignore"]) == (256, kind, ["lm_head"])
    group = said["config_groups"]["group_0"]
    assert group["weights"]["num_bits"] == form.bits
    assert (group["input_activations"] or {}).get("num_bits") == inputs
    assert (tmp_path / "tokenizer.json").exists()
