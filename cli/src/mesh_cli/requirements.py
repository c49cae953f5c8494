"""Compiles every requirements file from the abstract needs in the pyproject.toml files.

Compiled files carry a hash for every package and name no index: they install the same anywhere.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from mesh_cli import uv
from mesh_cli.environments import BUILD_REQUIREMENTS
from mesh_cli.progress import Step
from mesh_cli.rooms import ROOT, Environment, Room, environments, rooms

# The oldest Python that the rooms support; markers in the files serve the newer ones.
_PYTHON = "3.11"
# What hatchling adds to its own requirements when it builds an editable package.
_EDITABLE_BUILDS = "editables~=0.3"
# Groups of cli/pyproject.toml that are installed apart from everything else, each one package.
_CLI_GROUPS = ("tools", "redis")


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


def _compile_tools(cli: Room) -> None:
    for group in _CLI_GROUPS:
        output = cli.path / f"requirements-{group}.txt"
        with Step(f"compile {output.relative_to(ROOT)}") as step:
            _compile(cli.path, ["--group", group, "--no-deps"], output, step)
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
