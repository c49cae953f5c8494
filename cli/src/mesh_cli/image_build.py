"""What the Dockerfile asks when it builds the image of a room, before anything is installed.

    python3 -m mesh_cli.image_build rooms services/classifier
    python3 -m mesh_cli.image_build programs services/classifier /app/bin

It keeps to the standard library.
"""

import sys
from pathlib import Path
from typing import Final

from mesh_cli.rooms import IMAGE, Environment, Room, local_packages, room

_PROGRAM: Final = """#!/bin/sh
export MESH_MODELS_PATH="${{MESH_MODELS_PATH:-/models}}"
{more}exec /app/bin/python -m {module} "$@"
"""
_OWN_MODEL: Final = 'export MESH_FETCH_MODEL="${{MESH_FETCH_MODEL:-{name}}}"\n'


def folders(of: Room) -> list[str]:
    """The folders of the rooms that go into the image of a room, as an installer wants them."""
    return [f"./{each.name}" for each in local_packages(Environment(of, IMAGE), dev=False)]


def write_programs(of: Room, target: Path) -> None:
    """Writes `serve`, and for a service, whose models it brings by default, `fetch`."""
    name = of.name.rpartition("/")[2]
    programs = {"serve": _PROGRAM.format(more="", module=f"mesh_{name}")}
    if of.name.startswith("services/"):
        own = _OWN_MODEL.format(name=name)
        programs["fetch"] = _PROGRAM.format(more=own, module="meshkit.fetch")
    for program, text in programs.items():
        path = target / program
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)


def main() -> None:
    """Runs what the module says."""
    what, name, *others = sys.argv[1:]
    if what == "rooms":
        sys.stdout.write(" ".join(folders(room(name))) + "\n")
    else:
        write_programs(room(name), Path(*others))


if __name__ == "__main__":
    main()
