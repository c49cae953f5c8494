"""The settings of the LLM service."""

import re
from pathlib import Path

import pytest

from mesh_llm.settings import Settings
from meshkit.settings import SettingsError, reference

README = Path(__file__).resolve().parents[1] / "README.md"


def test_needs_nothing_but_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_MODELS_PATH", "/srv/models")
    settings = Settings.load({})
    assert settings.models_path == Path("/srv/models")
    assert (settings.grpc_port, settings.admin_port) == (50062, 9062)
    assert settings.engine == "vllm"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ENGINE", "other"),
        ("MAX_RUNNING", "0"),
        ("GPU_MEMORY_SHARE", "1.5"),
        ("KV_CACHE_BYTES", "1"),
        ("MODEL_URI", "relative/folder"),
        ("UPSTREAM_URL", "ftp://x"),
        ("ENGINE_STALL_S", "0"),
        ("REASONING_FORMAT", "aloud"),
    ],
)
def test_impossible_values_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(f"MESH_LLM_{variable}", value)
    with pytest.raises(SettingsError, match=f"MESH_LLM_{variable}={re.escape(value)}: "):
        Settings.load({})


def test_a_remote_engine_needs_to_know_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_LLM_ENGINE", "remote")
    with pytest.raises(SettingsError, match=r"UPSTREAM_URL.*is needed where the engine is remote"):
        Settings.load({})
    monkeypatch.setenv("MESH_LLM_UPSTREAM_URL", "http://127.0.0.1:8000/v1")
    monkeypatch.setenv("MESH_LLM_UPSTREAM_KEY", "a-secret-key")
    settings = Settings.load({})
    assert settings.engine == "remote"
    assert "a-secret-key" not in str(settings.masked())


def test_adapters_need_names_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_LLM_ADAPTERS", "a=/srv/a,llm=/srv/b")
    with pytest.raises(SettingsError, match="calls an adapter 'llm' as the model"):
        Settings.load({})
    monkeypatch.setenv("MESH_LLM_ADAPTERS", "a")
    with pytest.raises(SettingsError, match="write name=folder or name=model:version"):
        Settings.load({})
    monkeypatch.setenv("MESH_LLM_ADAPTERS", "a=llm-a:1, b=/srv/b")
    assert Settings.load({}).adapters == "a=llm-a:1, b=/srv/b"
    monkeypatch.setenv("MESH_LLM_ENGINE", "remote")
    monkeypatch.setenv("MESH_LLM_UPSTREAM_URL", "http://127.0.0.1:8000/v1")
    with pytest.raises(SettingsError, match="are of the engine vllm"):
        Settings.load({})


def test_the_readme_lists_every_setting() -> None:
    table = reference(Settings)
    assert table in README.read_text(encoding="utf-8"), f"put this into {README.name}:\n{table}"
