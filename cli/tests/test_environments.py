import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh_cli import environments, uv
from mesh_cli.failures import Failure
from mesh_cli.rooms import ROOT, Environment, Room

PYPROJECT = """
[project]
name = "empty"
version = "1"
[dependency-groups]
dev = []
"""
PACKAGE = """
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"
[project]
name = "mesh-small"
version = "1"
[dependency-groups]
dev = []
"""


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """An environment of a room that needs nothing."""
    room = tmp_path / "room"
    room.mkdir()
    (room / "pyproject.toml").write_text(PYPROJECT)
    for name in ("requirements.txt", "requirements-dev.txt"):
        (room / name).write_text("")
    return Environment(Room("room", tmp_path))


@pytest.fixture
def fresh_index() -> Iterator[None]:
    """Makes a change of the index seen, and forgets it at the end."""
    uv._index.cache_clear()
    yield
    uv._index.cache_clear()


def stamp(environment: Environment) -> dict[str, object]:
    content = json.loads((environment.path / ".mesh-stamp.json").read_text())
    assert isinstance(content, dict)
    return content


def test_an_environment_is_made_once(environment: Environment) -> None:
    assert environments.sync(environment)
    assert environment.python.exists()
    assert not environments.sync(environment)


def test_what_it_is_made_from_makes_it_anew(environment: Environment) -> None:
    environments.sync(environment)
    environment.requirements(dev=False).write_text("# another\n")
    assert environments.sync(environment)
    assert not environments.sync(environment)


def test_a_command_inside_an_environment_sees_it_as_it_is(environment: Environment) -> None:
    environments.sync(environment)
    inside = subprocess.run(
        [
            environment.python,
            "-c",
            "from mesh_cli.environments import _base_python as b; print(b())",
        ],
        env={"PYTHONPATH": str(ROOT / "cli" / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert inside.stdout.strip() in str(stamp(environment)["base"])


def test_serving_leaves_what_tests_need(environment: Environment) -> None:
    environments.sync(environment)
    assert stamp(environment)["dev"] is False
    assert environments.sync(environment, dev=True)
    assert stamp(environment)["dev"] is True
    assert not environments.sync(environment)


def test_one_that_broke_off_is_done_again(environment: Environment) -> None:
    environments.sync(environment)
    (environment.path / ".mesh-stamp.json").write_text('{"dev": fal')
    assert environments.sync(environment)


def test_one_whose_python_is_gone_is_made_again(environment: Environment) -> None:
    environments.sync(environment)
    environment.python.unlink()
    environment.python.symlink_to("/nowhere/python3.11")
    assert environments.sync(environment)
    subprocess.run([environment.python, "-c", "pass"], check=True)


def test_a_moved_one_is_made_again(environment: Environment, tmp_path: Path) -> None:
    environments.sync(environment)
    moved = tmp_path / "elsewhere"
    environment.room.path.rename(moved)
    there = Environment(Room("elsewhere", tmp_path))
    assert environments.sync(there)
    subprocess.run([there.python, "-c", "pass"], check=True)


def test_the_room_itself_goes_in_editable(tmp_path: Path) -> None:
    room = tmp_path / "small"
    (room / "mesh_small").mkdir(parents=True)
    (room / "pyproject.toml").write_text(PACKAGE)
    (room / "requirements.txt").write_text("")
    (room / "mesh_small" / "__init__.py").write_text("VALUE = 1\n")
    environment = Environment(Room("small", tmp_path))
    environments.sync(environment)
    assert not environments.sync(environment)
    (room / "mesh_small" / "__init__.py").write_text("VALUE = 2\n")
    assert not environments.sync(environment)
    said = subprocess.run(
        [environment.python, "-c", "import mesh_small; print(mesh_small.VALUE)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "2\n"
    (room / "pyproject.toml").write_text(PACKAGE.replace('version = "1"', 'version = "2"'))
    assert environments.sync(environment)


def test_a_missing_file_names_the_command_that_makes_it(environment: Environment) -> None:
    environment.requirements(dev=False).unlink()
    with pytest.raises(Failure, match=r"room/requirements.txt is missing: run `make compile`"):
        environments.sync(environment)


def test_a_broken_download_says_what_to_do_and_the_next_run_goes_on(
    environment: Environment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fresh_index: None,
) -> None:
    wanted = f"absent==1.0 --hash=sha256:{'0' * 64}\n"
    environment.requirements(dev=False).write_text(wanted)
    # Nothing listens there.
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    monkeypatch.setattr(uv, "LOG", tmp_path / "install.log")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(Failure) as refused:
        environments.sync(environment)
    message = str(refused.value)
    assert message.startswith("room could not be installed: a download broke off: check the")
    assert "run the same command again" in message
    assert "\n" not in message
    environment.requirements(dev=False).write_text("")
    assert environments.sync(environment)
