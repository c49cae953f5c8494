"""Builds the environments of the rooms, and rebuilds only what has changed.

An environment is what its compiled requirements say (with hashes) plus the rooms it needs,
editable. What it was made from is kept as a hash in a stamp inside it, so an unchanged one costs
milliseconds.
"""

import fcntl
import hashlib
import json
import platform
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mesh_cli import uv
from mesh_cli.failures import Failure
from mesh_cli.progress import Step
from mesh_cli.rooms import ROOT, Environment, Room, local_packages

BUILD_REQUIREMENTS = ROOT / "cli" / "requirements-build.txt"
_STAMP = ".mesh-stamp.json"


def sync(environment: Environment, *, dev: bool = False) -> bool:
    """Makes an environment as its requirements say, and says whether there was anything to do.

    An environment that has the development requirements keeps them: serving needs nothing absent.

    Raises:
        Failure: it could not be installed; the text says why and what to do.
    """
    # One that is as it should be waits for nobody else's installation.
    if is_current(environment, dev=dev):
        return False
    with _installing():
        stamp = _read_stamp(environment)
        dev = dev or bool(stamp.get("dev"))
        wanted = _wanted(environment, dev=dev)
        if stamp == wanted:
            return False
        try:
            with Step(f"install {environment.name}{', with tests' if dev else ''}") as step:
                _install(environment, step, dev=dev, fresh=stamp.get("base") != wanted["base"])
        except Failure as failure:
            raise Failure(f"{environment.name} could not be installed: {failure}") from failure
        (environment.path / _STAMP).write_text(json.dumps(wanted), encoding="utf-8")
        return True


def is_current(environment: Environment, *, dev: bool = False) -> bool:
    """Whether an environment is as its requirements say.

    Raises:
        Failure: its requirements are missing.
    """
    stamp = _read_stamp(environment)
    return stamp == _wanted(environment, dev=dev or bool(stamp.get("dev")))


def sync_all(environments: Iterable[Environment], *, dev: bool = False) -> None:
    """Makes every one of these environments as its requirements say.

    Raises:
        Failure: one could not be installed.
    """
    for environment in environments:
        sync(environment, dev=dev)


def build_guard() -> list[str]:
    """The options that hold what packages are built with to the recorded versions and hashes."""
    pins = ["--build-constraints", str(BUILD_REQUIREMENTS), "--require-build-hashes"]
    return [*pins, "--preview-features", "build-dependency-hashes"]


def identity(environment: Environment) -> str:
    """What tells one installation of an environment from another."""
    path = environment.path / _STAMP
    return path.read_text(encoding="utf-8") if path.exists() else ""


def wanted_identity(environment: Environment) -> str:
    """What tells one state of what an environment is made from, from another.

    Raises:
        Failure: its requirements are missing.
    """
    return json.dumps(_wanted(environment, dev=False))


def _wanted(environment: Environment, *, dev: bool) -> dict[str, object]:
    """What the stamp of an environment that is as it should be says."""
    requirements = environment.requirements(dev=dev)
    if not requirements.exists():
        raise Failure(f"{requirements} is missing: run `make compile`")
    return {"dev": dev, "base": _base(environment), "inputs": _inputs(environment, dev=dev)}


def _install(environment: Environment, step: Step, *, dev: bool, fresh: bool) -> None:
    requirements = environment.requirements(dev=dev)
    # Without a stamp a run that breaks off is done again.
    (environment.path / _STAMP).unlink(missing_ok=True)
    if fresh:
        uv.run(["venv", "--clear", "--python", _base_python(), str(environment.path)], step)
    into = ["--python", str(environment.python)]
    hashes = ["--require-hashes", "--allow-empty-requirements"]
    uv.run(["pip", "sync", *into, *hashes, str(requirements)], step)
    local = [str(room.path) for room in local_packages(environment, dev=dev)]
    editables = [part for path in local for part in ("--editable", path)]
    if not editables:
        return
    uv.run(["pip", "install", *into, "--no-deps", *build_guard(), *editables], step)


def _read_stamp(environment: Environment) -> dict[str, object]:
    """What the environment was made from; empty when there is none that works."""
    path = environment.path / _STAMP
    if not environment.python.exists() or not path.exists():
        return {}
    try:
        stamp = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # a write that broke off: build it again
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _base(environment: Environment) -> str:
    """What an environment can't outlive: the Python it links to and the folder its scripts name."""
    return f"{platform.python_version()} {_base_python()} {environment.path}"


def _base_python() -> str:
    """The Python that environments are made from, the same from inside one of them."""
    return str(Path(getattr(sys, "_base_executable", None) or sys.executable).resolve())


def _inputs(environment: Environment, *, dev: bool) -> str:
    """A hash over every file that the environment is made from."""
    files = [environment.requirements(dev=dev), BUILD_REQUIREMENTS]
    for room in local_packages(environment, dev=dev):
        files += _sources(room)
    digest = hashlib.sha256()
    for file in files:
        content = file.read_bytes() if file.exists() else b""
        digest.update(f"{file} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _sources(room: Room) -> Iterator[Path]:
    """The files of an editable room that its installation depends on."""
    yield room.path / "pyproject.toml"
    if (room.path / "buf.yaml").exists():  # its stubs are made when it is installed
        yield from sorted(room.path.glob("build_*.py"))
        areas = sorted(path for path in room.path.iterdir() if not path.name.startswith("."))
        for area in areas:
            yield from sorted(area.rglob("*.proto"))


@contextmanager
def _installing() -> Iterator[None]:
    """Holds the one lock on installations: two commands never change an environment at once."""
    path = uv.TOOLS.parent / ".venv-lock"
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stdout.write("waiting for another command that is installing ...\n")
            sys.stdout.flush()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
