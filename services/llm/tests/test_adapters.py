"""Adapters are found, or it is said why not."""

import json
from pathlib import Path

import pytest

from mesh_llm import adapters
from mesh_llm.adapters import Adapter
from mesh_llm.engines import vllm_models
from meshkit.errors import StartError


def folder_of(tmp_path: Path, **changes: object) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    config = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, **changes}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", {}),
        ("a=/x", {"a": "/x"}),
        (" a=/x , b=llm-b:1,", {"a": "/x", "b": "llm-b:1"}),
    ],
)
def test_sources_are_read(given: str, expected: dict[str, str]) -> None:
    assert adapters.parse(given) == expected


@pytest.mark.parametrize(
    ("given", "said"),
    [("a", "has 'a'"), ("=x", "has '=x'"), ("a b=/x", "has 'a b"), ("a=/x,a=/y", "'a' twice")],
)
def test_sources_that_are_none_are_refused(given: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        adapters.parse(given)


def test_a_folder_is_an_adapter(tmp_path: Path) -> None:
    folder = str(folder_of(tmp_path))
    assert adapters.find({"a": folder}, None, "1") == [Adapter("a", folder, 8, None, folder)]


def test_the_layers_that_it_adapts_are_told(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, target_modules=["q_proj", "v_proj"])
    (found,) = adapters.find({"a": str(folder)}, None, "1")
    assert found.modules == frozenset({"q_proj", "v_proj"})


@pytest.mark.parametrize("changes", [{"peft_type": "IA3"}, {"r": "8"}, {"r": None}])
def test_another_kind_of_adapter_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    folder = folder_of(tmp_path, **changes)
    with pytest.raises(StartError, match="the adapter a can't be read"):
        adapters.find({"a": str(folder)}, None, "1")


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="the adapter a can't be read"):
        adapters.find({"a": str(tmp_path / "nothing")}, None, "1")
    with pytest.raises(StartError, match="MESH_LLM_MODELS_PATH is not set"):
        adapters.find({"a": "llm-a"}, None, "1")
    with pytest.raises(StartError, match="no version of llm-a is in production"):
        adapters.find({"a": "llm-a"}, tmp_path, "1")
    with pytest.raises(StartError, match="llm-a:7 is not in the store"):
        adapters.find({"a": "llm-a:7"}, tmp_path, "1")


def test_the_engine_makes_room_for_the_largest() -> None:
    def of(rank: int, *modules: str) -> Adapter:
        return Adapter(f"r{rank}", "/x", rank, frozenset(modules) or None, "1")

    assert vllm_models.engine_arguments([]) == {}
    assert vllm_models.engine_arguments([of(4), of(9)]) == {
        "enable_lora": True,
        "max_loras": 3,
        "max_lora_rank": 16,
    }
    both = vllm_models.engine_arguments([of(4, "v_proj", "q_proj"), of(8, "o_proj")])
    assert both["lora_target_modules"] == ["o_proj", "q_proj", "v_proj"]
    assert "lora_target_modules" not in vllm_models.engine_arguments([of(4, "q_proj"), of(8)])
    with pytest.raises(StartError, match="the adapter r513 has the rank 513"):
        vllm_models.engine_arguments([of(513)])
