"""The command says in a line what is wrong."""

from pathlib import Path

import pytest

from mesh_llm.training.evaluation.__main__ import main


def test_a_version_that_there_is_not_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    options = ["--models-path", str(tmp_path), "--version", "20260102-030405-abcdef"]
    assert main([*options, "--page", str(page), "--engine-python", "python"]) == 1
    assert "20260102-030405-abcdef" in capsys.readouterr().err
    assert not page.exists()
