"""The rooms of this repository, and the environments each of them has."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mesh_cli.failures import Failure

ROOT = Path(__file__).resolve().parents[3]

# The extra with an environment of its own: what a service needs to learn, it needs not to serve.
TRAINING = "training"
# The extra of a service whose model runs in a library of gigabytes: what that serves from.
ENGINE = "engine"
# The extra that only the room's image has: what is in it beside what serves.
IMAGE = "image"

# Variables that would make a command see another environment than the one of its room.
MISLEADING = (
    *("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH", "UV_PROJECT_ENVIRONMENT"),
    *("PYTEST_ADDOPTS", "PYTEST_PLUGINS"),
)

_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)")


@dataclass(frozen=True)
class Room:
    """A folder with a pyproject.toml: one distribution, its tests and its environments.

    `name` is the folder as it is written from the root, such as `services/classifier`.
    """

    name: str
    root: Path = ROOT

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.root / self.name

    @cached_property
    def pyproject(self) -> dict[str, Any]:
        """The room's pyproject.toml, parsed."""
        with (self.path / "pyproject.toml").open("rb") as file:
            return tomllib.load(file)

    @property
    def package(self) -> str:
        """The name of its distribution, such as `mesh-classifier`."""
        return _normal(self.pyproject["project"]["name"])

    @property
    def builds(self) -> bool:
        """Whether it is a package; a room of tests alone is none."""
        return "build-system" in self.pyproject

    @property
    def extras(self) -> tuple[str, ...]:
        """The names of its optional dependencies."""
        return tuple(sorted(self.pyproject["project"].get("optional-dependencies", {})))

    @property
    def pytest_options(self) -> dict[str, Any]:
        """What its pyproject.toml says to pytest."""
        options: dict[str, Any] = (
            self.pyproject.get("tool", {}).get("pytest", {}).get("ini_options", {})
        )
        return options

    @property
    def all_full(self) -> bool:
        """Whether all its tests are marked `full`: its environment is not installed for others."""
        return bool(self.pyproject.get("tool", {}).get("mesh", {}).get("tests") == "full")

    def requires(self, *, extras: tuple[str, ...] = (), dev: bool = False) -> list[str]:
        """The names of the distributions it asks for, with the extras named and the dev group."""
        project = self.pyproject["project"]
        lines = list(project.get("dependencies", []))
        for extra in extras:
            lines += project.get("optional-dependencies", {}).get(extra, [])
        if dev:
            groups = self.pyproject.get("dependency-groups", {})
            lines += [line for line in groups.get("dev", []) if isinstance(line, str)]
        return [name for line in lines if (name := requirement_name(line))]


def requirement_name(requirement: str) -> str:
    """The distribution that a requirement asks for; empty where it is none."""
    match = _REQUIREMENT.match(requirement)
    return _normal(match[1]) if match else ""


def _normal(name: str) -> str:
    """The name of a distribution in its normal form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True)
class Environment:
    """A virtual environment of a room; `extra` is None for the one it serves from on a machine."""

    room: Room
    extra: str | None = None

    @property
    def name(self) -> str:
        """How messages call it, such as `services/classifier (training)`."""
        return f"{self.room.name} ({self.extra})" if self.extra else self.room.name

    @property
    def path(self) -> Path:
        """The folder of the environment."""
        return self.room.path / (f".venv-{self.extra}" if self.extra else ".venv")

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.path / "bin" / "python"

    def requirements(self, *, dev: bool) -> Path:
        """The compiled file it is installed from; the dev file has the serving one's pins too."""
        middle = f"-{self.extra}" if self.extra else ""
        return self.room.path / f"requirements{middle}{'-dev' if dev else ''}.txt"

    def extras(self, *, dev: bool) -> tuple[str, ...]:
        """The extras of the room that go in: its own, or for tests and checks all that serve."""
        if self.extra:
            return (self.extra,)
        apart = (TRAINING, ENGINE, IMAGE)
        return tuple(extra for extra in self.room.extras if extra not in apart) if dev else ()


def image_base(room: Room) -> Environment:
    """The environment whose pins the room's image has: what it serves from."""
    return Environment(room, ENGINE if ENGINE in room.extras else None)


def is_checkout() -> bool:
    """Whether this command runs from a checkout; an image has it without one."""
    return (ROOT / "cli" / "bootstrap.py").is_file()


def check_checkout(what: str) -> None:
    """Checks that there is a checkout.

    Raises:
        Failure: there is none; `what` needs it.
    """
    if not is_checkout():
        raise Failure(
            f"{what} needs a checkout of the repository, and this command was installed without "
            f"one: run cli/{what} in a checkout"
        )


def rooms(root: Path = ROOT) -> list[Room]:
    """Every room of the tree: what others build on first, what crosses all of them last.

    A stock client that judges the mesh has needs of its own, so it is a room under `tests/judges`.
    """
    places = ("*", "services/*", "tests/judges/*")
    files = [file for place in places for file in root.glob(f"{place}/pyproject.toml")]
    names = [file.parent.relative_to(root).as_posix() for file in files]
    first = ("protos", "meshkit")
    order = sorted(
        names, key=lambda name: (name.startswith("tests"), name == "tests", name not in first, name)
    )
    return [Room(name, root) for name in order]


def room(name: str, root: Path = ROOT) -> Room:
    """The room of that name.

    Raises:
        Failure: there is none.
    """
    known = {candidate.name: candidate for candidate in rooms(root)}
    if name not in known:
        raise Failure(f"no room is called {name!r}: choose one of {', '.join(known)}")
    return known[name]


def environments(root: Path = ROOT) -> Iterator[Environment]:
    """Every environment of every room; a room without a dev group only lives in those of others."""
    for candidate in rooms(root):
        if "dev" not in candidate.pyproject.get("dependency-groups", {}):
            continue
        yield Environment(candidate)
        for extra in (TRAINING, ENGINE):
            if extra in candidate.extras:
                yield Environment(candidate, extra)


def local_packages(environment: Environment, *, dev: bool) -> list[Room]:
    """The rooms that go into an environment, editable: its own and all those it builds on."""
    every = rooms(environment.room.root)
    by_package = {candidate.package: candidate for candidate in every if candidate.builds}
    found: dict[str, Room] = {}
    waiting = environment.room.requires(extras=environment.extras(dev=dev), dev=dev)
    waiting.append(environment.room.package)
    while waiting:
        name = waiting.pop()
        if name in by_package and name not in found:
            found[name] = by_package[name]
            waiting += found[name].requires()
    return sorted(found.values(), key=lambda candidate: candidate.name)
