"""The settings of the embedder."""

import re
from pathlib import Path

import pytest

from mesh_embedder.settings import Settings
from meshkit.settings import SettingsError, reference

README = Path(__file__).resolve().parents[1] / "README.md"


def test_needs_nothing_but_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_MODELS_PATH", "/srv/models")
    settings = Settings.load({})
    assert settings.models_path == Path("/srv/models")
    assert (settings.grpc_port, settings.admin_port) == (50063, 9063)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("MAX_BATCH_SIZE", "0"), ("MAX_INPUTS", "0"), ("MAX_QUEUED_INPUTS", "none")],
)
def test_impossible_values_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv("MESH_MODELS_PATH", "/srv/models")
    monkeypatch.setenv(f"MESH_EMBEDDER_{variable}", value)
    with pytest.raises(SettingsError, match=f"MESH_EMBEDDER_{variable}={re.escape(value)}: "):
        Settings.load({})


def test_a_queue_that_holds_no_share_of_a_request_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MESH_MODELS_PATH", "/srv/models")
    monkeypatch.setenv("MESH_EMBEDDER_QUEUE_CAPACITY", "63")
    with pytest.raises(SettingsError, match=r"QUEUE_CAPACITY=63: .*max_queued_inputs \(64\); rai"):
        Settings.load({})


def test_the_readme_lists_every_setting() -> None:
    table = reference(Settings)
    assert table in README.read_text(encoding="utf-8"), f"put this into {README.name}:\n{table}"
