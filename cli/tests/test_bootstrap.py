import ast
import subprocess
import sys
from pathlib import Path

import pytest

from mesh_cli.rooms import ROOT

BOOTSTRAP = ROOT / "cli" / "bootstrap.py"
# Runs the bootstrap as an old Python would, with a folder of interpreters as its PATH.
AS_OLD = """
import os, runpy, sys
sys.argv = [sys.argv[1]]
sys.version_info = (3, 8, 1, "final", 0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_as_old(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", AS_OLD, str(BOOTSTRAP)],
        env={"PATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_old_python_can_parse_it() -> None:
    ast.parse(BOOTSTRAP.read_text(), feature_version=(3, 6))


def test_a_wrong_python_is_said_in_one_line(tmp_path: Path) -> None:
    ran = run_as_old(tmp_path)
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr.startswith("error: Python 3.11 or newer is needed and ")
    assert "is 3.8: install one (for example python3.12), or name it: make PYTHON=" in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_a_name_of_a_version_manager_that_runs_nothing_is_passed_over(tmp_path: Path) -> None:
    shim = tmp_path / "python3.13"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    assert "Python 3.11 or newer is needed" in run_as_old(tmp_path).stderr


@pytest.mark.parametrize("name", ["python3.11", "python3.13"])
def test_a_newer_python_on_the_path_is_used(tmp_path: Path, name: str) -> None:
    newer = tmp_path / name
    newer.write_text('#!/bin/sh\ncase "$1" in -c) exit 0 ;; esac\necho "ran by $0"\n')
    newer.chmod(0o755)
    ran = run_as_old(tmp_path)
    assert (ran.returncode, ran.stdout) == (0, f"ran by {newer}\n")
