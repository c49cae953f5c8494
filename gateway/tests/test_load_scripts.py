"""The load tests of the gateway's environment, some of them with helpers of these tests."""

import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_SCRIPTS = (
    "gateway/fair_share.py",
    "gateway/hostile.py",
    "gateway/instrumentation.py",
    "soak/bad_input.py",
    "soak/good_input.py",
)


@pytest.mark.parametrize("script", _SCRIPTS)
def test_a_load_test_finds_all_that_it_is_made_of_by_itself(script: str, tmp_path: Path) -> None:
    command = [sys.executable, str(_ROOT / "loadtests" / script), "--help"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith(f"usage: {Path(script).name} ")
