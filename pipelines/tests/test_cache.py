from pathlib import Path

import pytest

from mesh_pipelines.cache import cache_path, exclusive
from mesh_pipelines.errors import PipelineError


def test_named_cache_wins() -> None:
    environment = {"MESH_CACHE_PATH": "/data/cache", "XDG_CACHE_HOME": "/xdg"}
    assert cache_path(environment) == Path("/data/cache")


def test_named_cache_may_start_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somebody")
    assert cache_path({"MESH_CACHE_PATH": "~/kept"}) == Path("/somebody/kept")


def test_named_cache_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cache_path({"MESH_CACHE_PATH": "kept"}) == tmp_path / "kept"


def test_cache_is_in_the_users_cache_folder() -> None:
    assert cache_path({"XDG_CACHE_HOME": "/xdg"}) == Path("/xdg/inference-mesh")


@pytest.mark.parametrize("environment", [{}, {"MESH_CACHE_PATH": "", "XDG_CACHE_HOME": ""}])
def test_cache_is_below_home_when_nothing_is_said(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/somebody")
    assert cache_path(environment) == Path("/somebody/.cache/inference-mesh")


def test_cache_follows_the_environment_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_CACHE_PATH", "/from/process")
    assert cache_path() == Path("/from/process")


def test_a_folder_takes_one_process_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "trainings" / "one"
    with exclusive(folder, "a training"):
        with (
            pytest.raises(PipelineError, match=r"a training is running in .*/one already: wait"),
            exclusive(folder, "a training"),
        ):
            pass
        with exclusive(tmp_path / "trainings" / "other", "a training"):
            pass
    with exclusive(folder, "a training"):
        assert folder.is_dir()
