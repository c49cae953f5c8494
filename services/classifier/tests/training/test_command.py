"""The command: what it leaves in the store, and how it fails."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from mesh_classifier.network import load
from mesh_classifier.training import __main__ as command
from mesh_classifier.training import pipeline, variants
from mesh_classifier.training.data import Examples
from mesh_pipelines.sources import load_sources
from mesh_pipelines.splits import Part
from meshkit import aliases
from training.conftest import SEED, TEXTS, Trained, train


def test_the_first_version_goes_into_production_and_can_be_served(trained: Trained) -> None:
    assert aliases.read(trained.home, "classifier") is not None
    assert "now in production" in trained.output
    for precision in ("fp32", "int8"):
        loaded = load(trained.version, precision, max_batch_size=4, threads=1)
        texts = ["A wonderful, wonderful film.", "Awful. I want my money back."]
        good, bad = loaded.network.classify(32, texts)
        assert good.valence > bad.valence
        assert loaded.metrics == trained.version.record["metrics_by_precision"][precision]


def test_a_second_training_makes_the_same_files_and_leaves_production_alone(
    trained: Trained, examples: Mapping[Part, Examples]
) -> None:
    before = aliases.read(trained.home, "classifier")
    _, output = train(trained.home, examples, "--recipe", "quick")
    assert aliases.read(trained.home, "classifier") == before
    assert "not in production" in output
    names = sorted(path.name for path in (trained.home / "models" / "classifier").glob("2*"))
    assert len(names) == 2
    files = [trained.home / "models" / "classifier" / name / "model.fp32.onnx" for name in names]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_record_says_what_the_version_is_made_from(trained: Trained) -> None:
    record = trained.version.record
    manifest = load_sources()
    for name in ("rated-texts", "text-encoder"):
        source = record["sources"][name]
        assert source["version"] == manifest[name].version
        assert source["licence"] == manifest[name].licence
        hashes = {file: entry.sha256 for file, entry in manifest[name].files.items()}
        assert source["files"] == hashes
    assert record["settings"]["recipe"] == "quick"
    assert record["settings"]["seed"] == SEED
    assert record["settings"]["training_texts"] == TEXTS[Part.TRAIN]
    assert record["settings"]["torch"].startswith("2.")
    assert record["git_commit"]
    assert record["parity"]["max_logit_difference"] < 1e-4
    assert record["metrics"] == record["metrics_by_precision"][record["default_precision"]]
    assert record["metrics"]["texts"] == TEXTS[Part.TEST]


def test_it_leaves_nothing_behind_but_the_version(trained: Trained) -> None:
    kinds = {path.suffix for path in trained.version.files.values()}
    assert kinds == {".onnx", ".json"}
    left = {path.name for path in trained.home.iterdir()}
    assert left == {"models", "aliases"}


def test_the_command_offers_the_recipes_and_the_data_there_are() -> None:
    assert set(command.RECIPES) == set(pipeline.RECIPES)
    assert command.DATA == variants.DATA


def run(home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "mesh_classifier.training", "--models-path", str(home)]
    return subprocess.run(
        arguments,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_a_download_that_fails_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        index = f"http://127.0.0.1:{unused.getsockname()[1]}/simple"
        result = run(tmp_path, MESH_CACHE_PATH=str(tmp_path / "cache"), UV_DEFAULT_INDEX=index)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: can't ask the package index for vaderSentiment==3.3.2")
    assert not (tmp_path / "models").exists()


def test_a_cache_that_can_not_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run(tmp_path, MESH_CACHE_PATH=str(tmp_path / "file" / "cache"))
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: Not a directory")
    assert "MESH_CACHE_PATH" in line


def test_a_wrong_recipe_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--recipe", "slow", "--models-path", "models"])
    assert ended.value.code == 2
    assert "invalid choice: 'slow'" in capsys.readouterr().err
