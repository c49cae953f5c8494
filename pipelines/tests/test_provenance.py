"""What a version is said to be made with."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from mesh_pipelines.provenance import environment, git_commit

WHO = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")


def git(folder: Path, *arguments: str) -> str:
    ran = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return ran.stdout.strip()


def test_the_commit_says_whether_files_differ(tmp_path: Path) -> None:
    code = tmp_path / "code.py"
    code.write_text("one\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, *WHO, "commit", "--quiet", "--message", "one")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert git_commit(code) == commit
    code.write_text("two\n")
    assert git_commit(code) == f"{commit}-dirty"


def test_outside_a_repository_the_commit_is_unknown(tmp_path: Path) -> None:
    assert git_commit(tmp_path / "code.py") == "unknown"
    assert git_commit(tmp_path / "nowhere" / "code.py") == "unknown"


def test_the_environment_has_the_libraries_that_are_asked_for() -> None:
    found = environment(["numpy"])
    assert found == {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "numpy": version("numpy"),
    }
