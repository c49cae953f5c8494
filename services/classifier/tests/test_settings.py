"""The settings of the classifier."""

import re
from pathlib import Path

import pytest

from mesh_classifier.settings import Settings
from meshkit.settings import SettingsError, reference

README = Path(__file__).resolve().parents[1] / "README.md"


def test_needs_nothing_but_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_MODELS_PATH", "/srv/models")
    settings = Settings.load({})
    assert settings.models_path == Path("/srv/models")
    assert (settings.grpc_port, settings.admin_port) == (50061, 9061)
    assert settings.precision == "auto"


def test_without_a_store_says_which_variable_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MESH_MODELS_PATH", raising=False)
    with pytest.raises(SettingsError, match="MESH_CLASSIFIER_MODELS_PATH is not set"):
        Settings.load({})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PRECISION", "int4"),
        ("MAX_BATCH_SIZE", "0"),
        ("MAX_QUEUE_DELAY_MS", "-1"),
        ("INFERENCE_THREADS", "0"),
        ("MAX_TEXTS", "none"),
    ],
)
def test_impossible_values_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv("MESH_MODELS_PATH", "/srv/models")
    monkeypatch.setenv(f"MESH_CLASSIFIER_{variable}", value)
    with pytest.raises(SettingsError, match=f"MESH_CLASSIFIER_{variable}={re.escape(value)}: "):
        Settings.load({})


def test_a_queue_that_holds_no_whole_request_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_MODELS_PATH", "/srv/models")
    monkeypatch.setenv("MESH_CLASSIFIER_QUEUE_CAPACITY", "63")
    with pytest.raises(SettingsError, match=r"QUEUE_CAPACITY=63: .*max_texts \(64\); raise it"):
        Settings.load({})


def test_the_readme_lists_every_setting() -> None:
    table = reference(Settings)
    assert table in README.read_text(encoding="utf-8"), f"put this into {README.name}:\n{table}"
