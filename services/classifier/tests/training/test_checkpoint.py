"""Checkpoints: what is saved comes back, and nothing else is taken for it."""

from pathlib import Path

import pytest
import torch

from mesh_classifier.training.checkpoint import Checkpoint, State

STATE = State(
    {
        "weights": torch.arange(6, dtype=torch.float32).reshape(2, 3) / 7,
        "random": torch.tensor([1, 255, 0], dtype=torch.uint8),
    },
    {"step": 12, "epochs": [{"training_loss": 0.1}]},
)


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "state.safetensors", "one")
    assert checkpoint.load() is None
    checkpoint.save(STATE)
    loaded = Checkpoint(tmp_path / "state.safetensors", "one").load()
    assert loaded is not None
    assert loaded.figures == STATE.figures
    assert loaded.tensors.keys() == STATE.tensors.keys()
    for name, tensor in STATE.tensors.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        assert torch.equal(loaded.tensors[name], tensor)


def test_the_state_of_another_training_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    Checkpoint(path, "one").save(STATE)
    assert Checkpoint(path, "other").load() is None


@pytest.mark.parametrize("damage", [lambda content: content[:40], lambda content: b"", bytes.upper])
def test_a_damaged_file_counts_as_none(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "state.safetensors"
    checkpoint = Checkpoint(path, "one")
    checkpoint.save(STATE)
    assert callable(damage)
    path.write_bytes(damage(path.read_bytes()))
    assert checkpoint.load() is None
    checkpoint.save(STATE)
    assert checkpoint.load() is not None


def test_what_a_killed_save_has_left_does_no_harm(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "state.safetensors", "one")
    checkpoint.save(STATE)
    (tmp_path / "state.partial").write_bytes(b"half of a stat")
    assert checkpoint.load() is not None
    checkpoint.save(State(STATE.tensors, {"step": 13}))
    loaded = checkpoint.load()
    assert loaded is not None
    assert loaded.figures == {"step": 13}
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]
