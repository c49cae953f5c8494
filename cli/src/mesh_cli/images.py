"""Builds the images of what serves, by Docker, Buildah or whatever knows their `build`."""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mesh_cli.failures import Failure
from mesh_cli.rooms import ENGINE, IMAGE, Room, rooms

PROJECT: Final = "inference-mesh"
BUILDER: Final = "docker build"
CPU, GPU = ACCELERATORS = ("cpu", "gpu")

# What a build takes over from the caller's environment, where it is set there: the package index,
# the way to it, and the image that all begin with.
_TAKEN_OVER: Final = (
    *("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    "PYTHON_IMAGE",
)


@dataclass(frozen=True)
class Source:
    """What the images are built from.

    Attributes:
        version: of the release, or where the tree is on the way to the next one.
        revision: the commit.
        created: when the commit was made, so that a build that is repeated says the same.
    """

    version: str
    revision: str
    created: str


def names(root: Path | None = None) -> list[str]:
    """What there are images of, as they are called: `gateway`, `classifier`."""
    return [_name(room) for room in _deployables(root)]


def build(
    chosen: Sequence[str],
    *,
    builder: str = BUILDER,
    accelerator: str = CPU,
    tag: str | None = None,
) -> list[str]:
    """Builds images, the builder's own words in between; returns their names.

    What has no build for GPUs is built for CPUs, under the tag without `-gpu`.

    Args:
        chosen: what to build, such as `classifier`; where it is empty, everything but what takes
            gigabytes and is built when it is named.
        builder: a command, such as `buildah build`; what it takes of Docker's options is used.
        accelerator: `cpu` or `gpu`.
        tag: of the images; by default their version.

    Raises:
        Failure: there is no such image, or it could not be built.
    """
    rooms_by_name = {_name(room): room for room in _deployables()}
    built = []
    for name in chosen or [name for name, room in rooms_by_name.items() if not _is_large(room)]:
        if name not in rooms_by_name:
            raise Failure(f"no image is called {name!r}: choose one of {', '.join(rooms_by_name)}")
        room = rooms_by_name[name]
        image = _image(room, source(room), accelerator, tag)
        print(f"--- build {image}", flush=True)  # noqa: T201  # a title between the builder's words
        _run(command(room, image, builder, accelerator, os.environ), room.root)
        built.append(image)
    return built


def command(
    room: Room, image: str, builder: str, accelerator: str, environment: Mapping[str, str]
) -> list[str]:
    """The command that builds the image of a room."""
    made_from = source(room)
    arguments = {
        "ROOM": room.name,
        "ACCELERATOR": _built_for(room, accelerator),
        "TITLE": f"{PROJECT}/{_name(room)}",
        "DESCRIPTION": room.pyproject["project"]["description"],
        "VERSION": made_from.version,
        "REVISION": made_from.revision,
        "CREATED": made_from.created,
        "SYSTEM_PACKAGES": " ".join(_system_packages(room)),
    }
    told = [f"{name}={value}" for name, value in arguments.items() if value]
    # Without a value the builder reads it itself, so that no list of processes shows a password.
    told += [name for name in _TAKEN_OVER if environment.get(name)]
    options = [part for argument in told for part in ("--build-arg", argument)]
    return [*shlex.split(builder), *options, "--tag", image, "."]


def source(room: Room) -> Source:
    """What a room's image is built from, as git tells it; without git the version alone.

    Between releases the version says how far from the last one, at which commit, and whether the
    tree has changes of its own.
    """
    released: str = room.pyproject["project"]["version"]
    commit = _git(room.root, "show", "--no-patch", "--format=%H %cI", "HEAD").split()
    if not commit:
        return Source(released, "unknown", "1970-01-01T00:00:00Z")
    revision, created = commit
    described = _git(room.root, "describe", "--tags", "--match", "v[0-9]*", "--dirty")
    if described:
        return Source(described.removeprefix("v"), revision, created)
    abbreviated = _git(room.root, "describe", "--always", "--exclude", "*", "--dirty")
    return Source(f"{released}-g{abbreviated}", revision, created)


def _deployables(root: Path | None = None) -> list[Room]:
    every = rooms(root) if root else rooms()
    return [room for room in every if IMAGE in room.extras]


def large(root: Path | None = None) -> list[str]:
    """Those images that take gigabytes, and are built only when they are named."""
    return [_name(room) for room in _deployables(root) if _is_large(room)]


def _is_large(room: Room) -> bool:
    return ENGINE in room.extras


def _system_packages(room: Room) -> list[str]:
    """Debian's packages that the room's image has beside Python."""
    told: dict[str, dict[str, str]] = room.pyproject.get("tool", {}).get("mesh", {})
    return sorted(told.get("system", {}))


def _name(room: Room) -> str:
    return room.name.rpartition("/")[2].replace("_", "-")


def _built_for(room: Room, accelerator: str) -> str:
    has_gpu = (room.path / f"requirements-{IMAGE}-{GPU}.txt").exists()
    return accelerator if has_gpu else CPU


def _image(room: Room, made_from: Source, accelerator: str, tag: str | None) -> str:
    suffix = f"-{GPU}" if _built_for(room, accelerator) == GPU else ""
    return f"{PROJECT}/{_name(room)}:{tag or made_from.version}{suffix}"


def _run(words: Sequence[str], folder: Path) -> None:
    try:
        status = subprocess.run(words, cwd=folder, stdin=subprocess.DEVNULL, check=False).returncode
    except FileNotFoundError:
        raise Failure(
            f"there is no {words[0]}: install it, or name another builder "
            "(make BUILDER='buildah build' images)"
        ) from None
    if status:
        raise Failure(f"{words[0]} failed with status {status}: its own words are above")


def _git(root: Path, *arguments: str) -> str:
    """What git says; nothing where it is not there, or this is no repository."""
    try:
        ran = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return ran.stdout.strip() if ran.returncode == 0 else ""
