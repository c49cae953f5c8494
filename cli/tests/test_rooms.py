from pathlib import Path

import pytest

from mesh_cli.failures import Failure
from mesh_cli.rooms import ROOT, Environment, Room, environments, local_packages, room, rooms

SERVICE = """
[build-system]
requires = ["hatchling"]
[project]
name = "mesh-echo"
version = "1"
dependencies = ["Kit[fast]>=1", "grpcio>=1.80"]
[project.optional-dependencies]
training = ["mesh_lines", "torch"]
cuda = ["onnxruntime-gpu"]
engine = ["vllm"]
image = ["kit[s3]"]
[dependency-groups]
dev = ["pytest"]
"""
KIT = """
[build-system]
requires = ["hatchling"]
[project]
name = "kit"
version = "1"
dependencies = ["contracts"]
[dependency-groups]
dev = ["pytest"]
"""


def library(name: str) -> str:
    return f'[build-system]\nrequires = ["hatchling"]\n[project]\nname = "{name}"\nversion = "1"\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small tree of rooms."""
    texts = {
        "services/echo": SERVICE,
        "meshkit": KIT,
        "protos": library("contracts"),
        "pipelines": library("mesh-lines"),
        "tests/judges/stock": library("judge"),
        "tests": '[project]\nname = "all"\nversion = "1"\n[dependency-groups]\ndev = ["kit"]\n',
    }
    for name, text in texts.items():
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "pyproject.toml").write_text(text)
    return tmp_path


def test_rooms_are_found_with_what_others_build_on_first(root: Path) -> None:
    names = [each.name for each in rooms(root)]
    assert names == [
        "meshkit",
        "protos",
        "pipelines",
        "services/echo",
        "tests/judges/stock",
        "tests",
    ]


def test_a_room_that_nobody_knows_is_refused_with_the_known_ones(root: Path) -> None:
    with pytest.raises(Failure, match=r"no room is called 'echo': choose one of .*services/echo"):
        room("echo", root)


def test_training_and_an_engine_have_environments_of_their_own(root: Path) -> None:
    found = [each.name for each in environments(root)]
    apart = ["services/echo (training)", "services/echo (engine)"]
    assert found == ["meshkit", "services/echo", *apart, "tests"]


def test_each_environment_has_its_compiled_files() -> None:
    serving, training = Environment(Room("x")), Environment(Room("x"), "training")
    assert serving.requirements(dev=False) == ROOT / "x" / "requirements.txt"
    assert serving.requirements(dev=True) == ROOT / "x" / "requirements-dev.txt"
    assert training.requirements(dev=False) == ROOT / "x" / "requirements-training.txt"
    assert training.requirements(dev=True) == ROOT / "x" / "requirements-training-dev.txt"
    assert training.python == ROOT / "x" / ".venv-training" / "bin" / "python"


@pytest.mark.parametrize(
    ("name", "extra", "dev", "expected"),
    [
        ("services/echo", None, False, ["meshkit", "protos", "services/echo"]),
        ("services/echo", None, True, ["meshkit", "protos", "services/echo"]),
        ("services/echo", "training", False, ["meshkit", "pipelines", "protos", "services/echo"]),
        ("meshkit", None, False, ["meshkit", "protos"]),
        ("tests", None, False, []),
        ("tests", None, True, ["meshkit", "protos"]),
    ],
)
def test_an_environment_holds_the_rooms_it_asks_for_at_any_depth(
    root: Path, name: str, extra: str | None, dev: bool, expected: list[str]
) -> None:
    environment = Environment(room(name, root), extra)
    assert [each.name for each in local_packages(environment, dev=dev)] == expected


def test_tests_see_every_extra_but_those_apart(root: Path) -> None:
    serving = Environment(room("services/echo", root))
    assert serving.extras(dev=True) == ("cuda",)
    assert serving.extras(dev=False) == ()
    assert Environment(serving.room, "training").extras(dev=True) == ("training",)
    assert Environment(serving.room, "image").extras(dev=True) == ("image",)


def test_every_room_of_this_repository_has_its_compiled_files() -> None:
    missing = [
        each.requirements(dev=dev).relative_to(ROOT).as_posix()
        for each in environments()
        for dev in (False, True)
        if not each.requirements(dev=dev).exists()
    ]
    assert missing == []


def test_compiled_files_name_no_index_and_no_folder() -> None:
    for each in environments():
        for dev in (False, True):
            text = each.requirements(dev=dev).read_text()
            assert "--index-url" not in text
            assert "://" not in text
            assert str(ROOT) not in text
