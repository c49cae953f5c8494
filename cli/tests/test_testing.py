import subprocess
import sys
from pathlib import Path

import pytest

from mesh_cli import environments, testing
from mesh_cli.failures import Failure
from mesh_cli.rooms import Environment, Room
from mesh_cli.uv import UV

PYPROJECT = """
[project]
name = "small"
version = "1"
[dependency-groups]
dev = ["pytest"]
[tool.pytest.ini_options]
markers = ["full: needs more than a plain machine"]
addopts = ["--strict-markers"]
"""
TESTS = """
import os, pytest

def test_passes():
    assert not [name for name in os.environ if name.startswith("MESH_")]

@pytest.mark.full
def test_of_more():
    raise AssertionError("this machine has no more")

@pytest.mark.skip(reason="shown as skipped")
def test_skipped():
    pass
"""


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A room with tests, in an environment that has pytest."""
    root = tmp_path_factory.mktemp("tree")
    folder = root / "small"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "test_small.py").write_text(TESTS)
    pins = Path(__file__).parents[1] / "requirements-dev.txt"
    compiled = subprocess.run(
        [*(UV, "pip", "compile", "-", "--constraints", pins, "--generate-hashes", "--quiet")],
        input="pytest",
        capture_output=True,
        text=True,
        check=True,
    )
    (folder / "requirements-dev.txt").write_text(compiled.stdout)
    environment = Environment(Room("small", root))
    environments.sync(environment, dev=True)
    return environment


def test_it_ends_with_pytests_closing_line(
    room: Environment, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_LOG_LEVEL", "debug")
    testing.run([room], full=False)
    lines = capfdbinary.readouterr().out.decode().strip().splitlines()
    assert lines[-2].startswith("small ")
    assert "= 1 passed, 1 skipped, 1 deselected in " in lines[-1]


def test_a_failure_is_counted_and_fails(
    room: Environment, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    with pytest.raises(Failure, match="tests failed in small"):
        testing.run([room], full=True)
    out = capfdbinary.readouterr().out.decode()
    assert "this machine has no more" in out
    assert "= 1 failed, 2 deselected in " in out.strip().splitlines()[-1]


def test_options_reach_pytest(room: Environment, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with pytest.raises(Failure):  # nothing is collected, which no run of all tests should be
        testing.run([room], full=False, options=["-k", "nothing_is_called_so"])
    assert "3 deselected" in capfdbinary.readouterr().out.decode()


def test_training_is_tested_apart(tmp_path: Path) -> None:
    (tmp_path / "services" / "echo" / "tests").mkdir(parents=True)
    (tmp_path / "services" / "echo" / "pyproject.toml").write_text(
        '[build-system]\n[project]\nname = "echo"\noptional-dependencies.training = []\n'
    )
    serving = Environment(Room("services/echo", tmp_path))
    training = Environment(serving.room, "training")
    assert testing.has_tests(serving)
    assert not testing.has_tests(training)
    (serving.room.path / "tests" / "training").mkdir()
    assert testing.has_tests(training)
    assert "--ignore=tests/training" in testing.command(serving, full=False, options=[])
    assert "tests/training" in testing.command(training, full=False, options=[])
    assert sys.executable not in testing.command(training, full=False, options=[])


def test_an_engine_is_tested_only_in_full(
    room: Environment, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = room.room.path
    (path / "tests" / "engine").mkdir(parents=True)
    engine = Environment(room.room, "engine")
    assert testing.has_tests(engine)
    assert "tests/engine" in testing.command(engine, full=True, options=[])
    testing.run([room, engine], full=False)
    assert b"small (engine)" not in capfdbinary.readouterr().out


def test_a_room_that_says_so_is_tested_only_in_full(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(f'{PYPROJECT}\n[tool.mesh]\ntests = "full"\n')
    large = Environment(Room("large", tmp_path))
    testing.run([large], full=False)  # it has no requirements file: an installation would fail
    assert b"large" not in capfdbinary.readouterr().out


def test_a_room_with_xdist_runs_two_files_at_a_time_but_what_is_full(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        PYPROJECT.replace('["pytest"]', '["pytest", "pytest-xdist"]')
    )
    environment = Environment(Room(".", tmp_path))
    assert "--numprocesses=2" in testing.command(environment, full=False, options=[])
    assert "--numprocesses=2" not in testing.command(environment, full=True, options=[])
