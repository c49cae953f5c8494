"""The `mesh` command line."""

import sys
from typing import Annotated

import typer

from mesh_cli import environments as environments_module
from mesh_cli import requirements, rooms
from mesh_cli.failures import Failure, of_os_error

Rooms = Annotated[list[str] | None, typer.Argument(metavar="[ROOM]...", show_default=False)]

app = typer.Typer(
    name="mesh",
    help="Installs, starts, checks and tests Inference Mesh.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command("env")
def environment(
    names: Rooms = None,
    *,
    dev: Annotated[bool, typer.Option(help="With what tests and checks need.")] = True,
) -> None:
    """Build the environments of the rooms named, or of all."""
    chosen = _rooms(names)
    environments_module.sync_all(
        (each for each in rooms.environments() if each.room in chosen), dev=dev
    )


@app.command("compile")
def compile_requirements(names: Rooms = None) -> None:
    """Compile the requirements files of the rooms named, or of all, from their pyproject.toml."""
    requirements.compile_rooms(_rooms(names))


def _rooms(names: list[str] | None) -> list[rooms.Room]:
    """The rooms of these names, all of them where there is none."""
    return [rooms.room(name) for name in names] if names else rooms.rooms()


def main() -> None:
    """Runs the command; what a user can mend is said in one line, with exit status 1."""
    try:
        app()
    except Failure as failure:
        sys.exit(f"error: {failure}")
    except OSError as error:
        sys.exit(f"error: {of_os_error(error)}")
    except KeyboardInterrupt:
        sys.exit("interrupted")


if __name__ == "__main__":
    main()
