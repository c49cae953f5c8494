"""The parts of the default model."""

import hashlib
from pathlib import Path

import pytest

from mesh_llm.training import sources
from mesh_llm.training.__main__ import main
from mesh_pipelines.errors import PipelineError
from meshkit.store_write import write_version


def test_the_parts_are_in_order_and_of_one_licence() -> None:
    parts = sources.parts()
    assert [part.name for part in parts] == [f"chat-model-{number}" for number in range(1, 7)]
    assert {part.licence for part in parts} == {sources.LICENCE}
    assert sum(file.size for part in parts for file in part.files.values()) == 491_400_064


def test_parts_are_joined_in_their_order(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one", "two")]
    for file in files:
        file.write_text(file.name)
    whole = tmp_path / "whole"
    sources.join(files, whole, hashlib.sha256(b"onetwo").hexdigest())
    assert whole.read_text() == "onetwo"


def test_a_whole_that_is_not_the_expected_one_is_not_kept(tmp_path: Path) -> None:
    part = tmp_path / "one"
    part.write_text("one")
    with pytest.raises(PipelineError, match="1 parts joined have SHA-256"):
        sources.join([part], tmp_path / "whole")
    assert not (tmp_path / "whole").exists()


def version(home: Path, name: str, source: str) -> str:
    file = home / "config.json"
    file.write_text("{}")
    return write_version(home, "llm", name, {"config.json": file}, {"source_sha256": source})


def test_the_model_is_made_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sources.made_of_them(tmp_path, "llm") is None
    version(tmp_path, "20260101-000000-aaaaaa", "of another model")
    assert sources.made_of_them(tmp_path, "llm") is None
    made = version(tmp_path, "20260102-000000-bbbbbb", sources.SHA256)
    version(tmp_path, "20260103-000000-cccccc", "of another model")
    assert sources.made_of_them(tmp_path, "llm") == made
    assert main(["--models-path", str(tmp_path)]) == 0
    assert f"llm:{made} is this model already" in capsys.readouterr().out


def test_the_record_names_every_part() -> None:
    described = sources.describe()
    assert list(described) == [part.name for part in sources.parts()]
    assert all(part["version"] == "0.9.0" for part in described.values())
