"""The `mesh` command as an image has it: installed, with no checkout around it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mesh_cli
from meshkit import aliases
from small_versions import MODEL, add_version


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder that the command is imported from."""
    target = tmp_path / "lib" / "python" / "site-packages"
    shutil.copytree(Path(mesh_cli.__file__).parent, target / "mesh_cli")
    return target


def run(packages: Path, state: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mesh_cli", *words],
        env={**os.environ, "PYTHONPATH": str(packages), "MESH_STATE_PATH": str(state)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (("up",), "mesh up"),
        (("status",), "mesh status"),
        (("check",), "mesh check"),
        (("images", "gateway"), "mesh images"),
        (("models", "train", "classifier"), "mesh models train"),
    ],
)
def test_what_needs_one_says_so(
    packages: Path, tmp_path: Path, words: tuple[str, ...], command: str
) -> None:
    ran = run(packages, tmp_path / "state", *words)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == (
        f"error: {command} needs a checkout of the repository, and this command was installed "
        f"without one: run cli/{command} in a checkout\n"
    )
    assert not (tmp_path / "state").exists()


def test_a_promotion_needs_a_reason_where_the_gates_have_no_bounds(
    packages: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    version = add_version(state / "models", tmp_path / "files", "20260102-030405-abcdef")
    refused = run(packages, state, "models", "promote", f"{MODEL}:{version}")
    assert refused.returncode == 1
    assert "passed  files" in refused.stdout
    assert "what they ask stands beside the service, in a checkout" in refused.stdout
    assert aliases.read(state / "models", MODEL) is None

    forced = run(
        packages, state, "models", "promote", f"{MODEL}:{version}", "--force", "passed elsewhere"
    )
    assert forced.returncode == 0, forced.stderr
    move = aliases.read(state / "models", MODEL)
    assert move
    assert (move.version, move.reason) == (version, "forced: passed elsewhere")
    assert [each["gate"] for each in move.details["gates"]] == ["files", "other gates"]


def test_what_the_store_has_is_shown(packages: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    version = add_version(state / "models", tmp_path / "files", "20260102-030405-abcdef")
    listed = run(packages, state, "models", "list")
    assert listed.returncode == 0, listed.stderr
    assert f"{MODEL}:{version}" in listed.stdout
