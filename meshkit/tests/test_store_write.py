"""Writing versions: read back by `meshkit.store` and by BentoML, whole or not at all."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from meshkit import store
from meshkit.store_write import BadVersion, new_run_id, write_version

RECORD = {"labels": ["negative", "positive"], "temperature": 1.25, "metrics": {"accuracy": 0.5}}
# Lets no file grow beyond the size in its second argument, then saves a version.
LIMITED = """
import resource, sys
from pathlib import Path
from meshkit.store_write import write_version
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
home = Path(sys.argv[1])
try:
    write_version(home / "store", "classifier", "run-1", {"model.onnx": home / "model.onnx"}, {})
except OSError as error:
    print(type(error).__name__, error.errno, flush=True)
"""


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    folder = tmp_path / "made"
    folder.mkdir()
    for name, content in (("model.onnx", b"\x08\x0a" * 1000), ("config.json", b"{}")):
        (folder / name).write_bytes(content)
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_a_version_is_read_back_as_it_was_written(home: Path, files: dict[str, Path]) -> None:
    run = new_run_id()
    name = write_version(home, "classifier", run, files, RECORD, {"recipe": "quick"})
    version = store.open_version(home, "classifier", name)
    assert (version.model, version.name, version.run) == ("classifier", run, run)
    assert {key: version.record[key] for key in RECORD} == RECORD
    assert version.files.keys() == files.keys()
    for file, path in files.items():
        assert version.file(file).read_bytes() == path.read_bytes()


def test_bentoml_lists_the_version_with_its_labels(home: Path, files: dict[str, Path]) -> None:
    name = write_version(home, "classifier", new_run_id(), files, RECORD, {"recipe": "quick"})
    result = subprocess.run(
        [sys.executable, "-m", "bentoml", "models", "get", f"classifier:{name}", "-o", "json"],
        env={**os.environ, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    described = json.loads(result.stdout)
    assert (described["name"], described["version"]) == ("classifier", name)
    assert described["labels"] == {"recipe": "quick"}
    assert described["metadata"]["temperature"] == RECORD["temperature"]


def test_those_who_serve_may_be_another_user(home: Path, files: dict[str, Path]) -> None:
    name = write_version(home, "classifier", new_run_id(), files, RECORD)
    folder = home / "models" / "classifier" / name
    assert folder.stat().st_mode & 0o055 == 0o055
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in folder.iterdir())


def test_an_object_that_stands_in_two_places_is_written_out_twice(
    home: Path, files: dict[str, Path]
) -> None:
    figures = {"accuracy": 0.5}
    record = {"metrics": figures, "metrics_by_precision": {"fp32": figures}}
    name = write_version(home, "classifier", new_run_id(), files, record)
    version = store.open_version(home, "classifier", name)
    assert version.record["metrics"] == version.record["metrics_by_precision"]["fp32"] == figures


JSON = st.recursive(
    st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1).filter(lambda key: key not in {"run", "files"}), JSON))
def test_any_json_survives(
    tmp_path_factory: pytest.TempPathFactory, record: dict[str, object]
) -> None:
    home = tmp_path_factory.mktemp("store")
    name = write_version(home, "classifier", new_run_id(), {}, record)
    path = home / "models" / "classifier" / name / "model.yaml"
    written = yaml.safe_load(path.read_text("utf-8"))["metadata"]
    assert {key: written[key] for key in record} == record


def test_run_ids_sort_by_age_and_differ() -> None:
    ids = [new_run_id() for _ in range(200)]
    assert len(set(ids)) == 200
    times = [id_.rpartition("-")[0] for id_ in ids]
    assert times == sorted(times)


def test_a_version_never_changes(home: Path, files: dict[str, Path]) -> None:
    name = write_version(home, "classifier", "run-1", files, RECORD)
    with pytest.raises(BadVersion, match="a version never changes"):
        write_version(home, "classifier", "run-1", {}, {})
    assert store.open_version(home, "classifier", name).files.keys() == files.keys()


@pytest.mark.parametrize("name", ["model.pkl", "model.bin", "run.py", "model", "../model.onnx"])
def test_a_file_that_may_run_code_or_lead_out_is_refused(
    home: Path, files: dict[str, Path], name: str
) -> None:
    with pytest.raises(BadVersion, match="can't be part of a version: use a plain name ending in"):
        write_version(home, "classifier", "run-1", {name: files["model.onnx"]}, RECORD)
    assert not home.exists()


@pytest.mark.parametrize("key", ["mesh_format", "run", "files"])
def test_the_record_can_not_say_what_the_store_says(
    home: Path, files: dict[str, Path], key: str
) -> None:
    with pytest.raises(BadVersion, match=f"the store itself writes {key}"):
        write_version(home, "classifier", "run-1", files, {key: "other"})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}, None, [None]])
def test_a_value_that_can_not_be_kept_is_refused(
    home: Path, files: dict[str, Path], value: object
) -> None:
    with pytest.raises(BadVersion, match=r"JSON can't hold|BentoML refuses"):
        write_version(home, "classifier", "run-1", files, {"metrics": value})
    assert not (home / "models" / "classifier" / "run-1").exists()


def folder_in_the_way(home: Path) -> None:
    (home / "models").mkdir(parents=True)
    (home / "models" / "classifier").write_text("")


def file_in_the_way(home: Path) -> None:
    home.write_text("")


@pytest.mark.parametrize("obstacle", [folder_in_the_way, file_in_the_way])
def test_a_store_that_can_not_be_written_is_an_os_error(
    home: Path, files: dict[str, Path], obstacle: Callable[[Path], None]
) -> None:
    obstacle(home)
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        write_version(home, "classifier", "run-1", files, RECORD)


def test_a_version_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    """The system refuses files over a size, as a full disk does."""
    (tmp_path / "model.onnx").write_bytes(bytes(200_000))
    result = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path, "100000"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert result.stdout.split() == ["OSError", "27"]  # EFBIG
    assert not list((tmp_path / "store").rglob("*.onnx"))
    assert not list((tmp_path / "store").rglob("model.yaml"))
