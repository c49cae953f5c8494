"""Compiles every requirements file from the abstract needs in the pyproject.toml files.

Compiled files carry a hash for every package and name no index: they install the same anywhere.
"""

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from mesh_cli import uv
from mesh_cli.environments import BUILD_REQUIREMENTS
from mesh_cli.progress import Step
from mesh_cli.rooms import (
    IMAGE,
    ROOT,
    Environment,
    Room,
    environments,
    image_base,
    requirement_name,
    rooms,
)

# The oldest Python that the rooms support; markers in the files serve the newer ones.
_PYTHON = "3.11"
# What hatchling adds to its own requirements when it builds an editable package.
_EDITABLE_BUILDS = "editables~=0.3"
# Groups of cli/pyproject.toml that are installed apart from everything else, each one package.
_CLI_GROUPS = ("tools", "redis")
# A pin of a compiled file, with its marker and without its hashes.
_PIN = re.compile(r"^([A-Za-z0-9._-]+==.*?)(?: \\)?$", re.MULTILINE)
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
    _compile_accelerator(room, "cpu", without, {})
    if replaced := told.get("gpu"):
        _compile_accelerator(room, "gpu", without, replaced)


def _compile_accelerator(
    room: Room, accelerator: str, without: Sequence[str], replaced: Mapping[str, str]
) -> None:
    """What serves has the pins of the environment that its tests ran in, but for what is replaced.

    Args:
        room: whose image.
        accelerator: `cpu` or `gpu`.
        without: packages that it does not have.
        replaced: packages, and the requirement that is in the place of each: another package, or
            another version of the same.
    """
    serving = image_base(room)
    output = room.path / f"requirements-{IMAGE}-{accelerator}.txt"
    gone = [name for name, instead in replaced.items() if requirement_name(instead) != name]
    pins = _PIN.findall(serving.requirements(dev=False).read_text(encoding="utf-8"))
    with (
        Step(f"compile {output.relative_to(ROOT)}") as step,
        tempfile.TemporaryDirectory() as folder,
    ):
        files = {
            "more.in": replaced.values(),
            "less.txt": [*without, *gone],
            "pins.txt": [pin for pin in pins if requirement_name(pin) not in replaced],
        }
        for name, lines in files.items():
            (Path(folder) / name).write_text("".join(f"{line}\n" for line in lines), "utf-8")
        more, less, held = (str(Path(folder) / name) for name in files)
        extras = [
            part for extra in (*serving.extras(dev=False), IMAGE) for part in ("--extra", extra)
        ]
        needs = ["pyproject.toml", more, *extras, "--constraints", held, "--excludes", less]
        # Annotated it would name these files.
        _compile(room.path, [*needs, "--no-annotate"], output, step)


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
