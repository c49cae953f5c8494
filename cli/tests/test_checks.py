import subprocess
from pathlib import Path

import pytest

from mesh_cli import checks
from mesh_cli.failures import Failure
from mesh_cli.rooms import Environment, Room, environments


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.example")
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init")
    (tmp_path / "a.txt").write_text("a")
    git(tmp_path, "add", "a.txt")
    git(tmp_path, "commit", "-m", "a")
    return tmp_path


def test_committed_stubs_are_found(repository: Path) -> None:
    assert checks.committed_stubs(repository) == []
    (repository / "gen").mkdir()
    for name in ("a_pb2.py", "a_pb2.pyi", "a_pb2_grpc.py"):
        (repository / "gen" / name).write_text("")
    assert checks.committed_stubs(repository) == []
    git(repository, "add", "gen")
    assert len(checks.committed_stubs(repository)) == 3


def test_outside_of_git_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="git can't list the files"):
        checks.committed_stubs(tmp_path)


def test_contracts_are_compared_with_the_last_release(repository: Path) -> None:
    assert checks.last_release(repository) is None
    git(repository, "tag", "nightly")
    assert checks.last_release(repository) is None
    git(repository, "tag", "v0.1.0")
    assert checks.last_release(repository) == "v0.1.0"


def test_every_environment_but_that_of_an_engine_is_type_checked() -> None:
    names = [check.name for check in checks.all_checks()]
    for environment in environments():
        assert (f"mypy {environment.name}" in names) == (environment.extra != "engine")
    assert {"ruff check", "ruff format", "buf lint", "import-linter"} <= set(names)


def test_training_is_type_checked_where_it_can_be_imported(tmp_path: Path) -> None:
    echo = tmp_path / "services" / "echo"
    for folder in ("src/mesh_echo/training", "tests/training"):
        (echo / folder).mkdir(parents=True)
        (echo / folder / "some.py").write_text("")
    (echo / "pyproject.toml").write_text(
        '[build-system]\n[project]\nname = "echo"\noptional-dependencies.training = []\n'
    )
    room = Room("services/echo", tmp_path)
    serving = checks.mypy(Environment(room))
    assert serving.command[-4:-2] == ("--exclude", "(^|/)training/")
    assert serving.command[-2:] == ("src", "tests")
    training = checks.mypy(Environment(room, "training"))
    assert training.command[0] == str(echo / ".venv-training" / "bin" / "python")
    assert training.command[-2:] == ("src/mesh_echo/training", "tests/training")


def test_a_room_within_a_room_of_tests_is_checked_by_itself(tmp_path: Path) -> None:
    for folder in ("end_to_end", "judges/stock", "empty", ".venv/lib"):
        (tmp_path / "tests" / folder).mkdir(parents=True)
    for file in ("end_to_end/a.py", "judges/stock/b.py", ".venv/lib/c.py"):
        (tmp_path / "tests" / file).write_text("")
    (tmp_path / "tests" / "judges" / "stock" / "pyproject.toml").write_text("")
    (tmp_path / "tests" / "pyproject.toml").write_text('[project]\nname = "all"\n')
    check = checks.mypy(Environment(Room("tests", tmp_path)))
    assert check.command[-2:] == (str(tmp_path / "tests/.venv/mypy-cache"), "end_to_end")


def test_types_are_checked_with_the_helpers_that_pytest_finds(tmp_path: Path) -> None:
    judge = tmp_path / "tests" / "judges" / "stock"
    judge.mkdir(parents=True)
    (judge / "pyproject.toml").write_text(
        '[project]\nname = "stock"\n[tool.pytest.ini_options]\npythonpath = ["../.."]\n'
    )
    check = checks.mypy(Environment(Room("tests/judges/stock", tmp_path)))
    assert check.variables == {"MYPYPATH": "src:tests:../.."}
