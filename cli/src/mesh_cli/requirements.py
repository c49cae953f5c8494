"""Compiles every requirements file from the abstract needs in the pyproject.toml files.

Compiled files carry a hash for every package and name no index: they install the same anywhere.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from mesh_cli import uv
from mesh_cli.environments import BUILD_REQUIREMENTS
from mesh_cli.progress import Step
from mesh_cli.rooms import IMAGE, ROOT, Environment, Room, environments, rooms

# The oldest Python that the rooms support; markers in the files serve the newer ones.
_PYTHON = "3.11"
# What hatchling adds to its own requirements when it builds an editable package.
_EDITABLE_BUILDS = "editables~=0.3"
# Groups of cli/pyproject.toml that are installed apart from everything else, each one package.
_CLI_GROUPS = ("tools", "redis")
# What the images' build uses and no image has.
_SBOM = "sbom"


def compile_rooms(chosen: Sequence[Room]) -> None:
    """Writes the requirements files of these rooms anew, keeping the pins that still hold.

    With the room `cli` come the files that every room is built with.

    Raises:
        Failure: there is no set of versions that meets the needs, or a download failed.
    """
    for candidate in chosen:
        if candidate.name == "cli":
            _compile_tools(candidate)
    for environment in environments():
        if environment.room in chosen:
            # The widest first: what serves is then a part of what was tested, and always solvable.
            for dev in (True, False):
                _compile_environment(environment, dev=dev)
    for candidate in chosen:
        if IMAGE in candidate.extras:
            _compile_image(candidate)


def _compile_tools(cli: Room) -> None:
    for group in _CLI_GROUPS:
        output = cli.path / f"requirements-{group}.txt"
        with Step(f"compile {output.relative_to(ROOT)}") as step:
            _compile(cli.path, ["--group", group, "--no-deps"], output, step)
    output = cli.path / f"requirements-{_SBOM}.txt"
    with Step(f"compile {output.relative_to(ROOT)}") as step:
        _compile(cli.path, ["--group", _SBOM], output, step)
    _compile_builds()


def _compile_environment(environment: Environment, *, dev: bool) -> None:
    output = environment.requirements(dev=dev)
    needs = ["pyproject.toml"]
    for extra in environment.extras(dev=dev):
        needs += ["--extra", extra]
    if dev:
        needs += ["--group", "dev"]
    else:
        needs += ["--constraints", environment.requirements(dev=True).name]
    with Step(f"compile {output.relative_to(ROOT)}") as step:
        _compile(environment.room.path, needs, output, step)


def _compile_image(room: Room) -> None:
    """What the image of a room has, for CPUs, and for GPUs where its pyproject.toml says how."""
    told: dict[str, dict[str, str]] = room.pyproject.get("tool", {}).get("mesh", {})
    without = list(told.get("without", {}))
    _compile_accelerator(room, "cpu", without, [])
    if replaced := told.get("gpu"):
        _compile_accelerator(room, "gpu", [*without, *replaced], list(replaced.values()))


def _compile_accelerator(
    room: Room, accelerator: str, without: Sequence[str], instead: Sequence[str]
) -> None:
    """What serves has the pins of the room's own environment, which its tests ran in."""
    serving = Environment(room).requirements(dev=False)
    output = room.path / f"requirements-{IMAGE}-{accelerator}.txt"
    with (
        Step(f"compile {output.relative_to(ROOT)}") as step,
        tempfile.TemporaryDirectory() as folder,
    ):
        more, less = Path(folder) / "more.in", Path(folder) / "less.txt"
        more.write_text("".join(f"{line}\n" for line in instead), encoding="utf-8")
        less.write_text("".join(f"{name}\n" for name in without), encoding="utf-8")
        needs = ["pyproject.toml", str(more), "--extra", IMAGE, "--constraints", serving.name]
        # Annotated it would name these two files.
        _compile(room.path, [*needs, "--excludes", str(less), "--no-annotate"], output, step)


def _compile_builds() -> None:
    """What the rooms are built with, from their own `[build-system]` tables."""
    needs = {_EDITABLE_BUILDS}
    for candidate in (each for each in rooms() if each.builds):
        needs.update(candidate.pyproject["build-system"]["requires"])
    with (
        Step(f"compile {BUILD_REQUIREMENTS.relative_to(ROOT)}") as step,
        tempfile.TemporaryDirectory() as folder,
    ):
        source = Path(folder) / "build.in"
        source.write_text("\n".join(sorted(needs)) + "\n", encoding="utf-8")
        _compile(ROOT, [str(source), "--no-annotate"], BUILD_REQUIREMENTS, step)


def _compile(folder: Path, needs: Sequence[str], output: Path, step: Step) -> None:
    local = [part for candidate in rooms() for part in ("--no-emit-package", candidate.package)]
    anywhere = ["--universal", "--python-version", _PYTHON, "--generate-hashes"]
    form = ["--no-emit-index-url", "--no-header", "--quiet", "--output-file", str(output)]
    uv.run(["pip", "compile", *needs, *anywhere, *form, *local], step, cwd=folder)
