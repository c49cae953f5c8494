"""The `mesh` command line."""

import shlex
import subprocess
import sys
from typing import Annotated

import typer

from mesh_cli import (
    checks,
    images,
    keys,
    lifecycle,
    lineage,
    models_commands,
    models_text,
    protos,
    rooms,
    tenants,
    testing,
    up,
    usage,
)
from mesh_cli import environments as environments_of_rooms
from mesh_cli import logs as logs_of_processes
from mesh_cli import status as status_of_mesh
from mesh_cli.failures import Failure, of_os_error
from mesh_cli.settings import Site
from meshkit.errors import MeshError, StartError

Names = Annotated[list[str] | None, typer.Argument(metavar="[ROOM]...", show_default=False)]

app = typer.Typer(
    name="mesh",
    help="Installs, starts, checks and tests Inference Mesh.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(keys.app, name="keys")
app.add_typer(tenants.app, name="tenants")
app.add_typer(models_commands.app, name="models")
app.add_typer(usage.app, name="usage")

# The others work wherever they are installed; the image of the gateway has them.
_OF_A_CHECKOUT = frozenset(
    {"check", "down", "env", "images", "logs", "protos", "status", "test", "up"}
)


@app.callback()
def before(context: typer.Context) -> None:
    """Installs, starts, checks and tests Inference Mesh."""
    if context.invoked_subcommand in _OF_A_CHECKOUT:
        rooms.check_checkout(f"mesh {context.invoked_subcommand}")


@app.command("up")
def up_command() -> None:
    """Install what is missing, start the mesh, wait until it is ready, and show how to call it."""
    typer.echo(up.run(Site.load()))


@app.command()
def down() -> None:
    """End the mesh; each process finishes what it has in flight."""
    site = Site.load()
    with lifecycle.exclusive(site):
        ended = lifecycle.stop(site)
    typer.echo("The mesh is down." if ended else "The mesh was not up.")


@app.command()
def status() -> None:
    """Show each process of the mesh; fails where one does not run or the mesh is not ready.

    An llm that is being loaded is no failure.
    """
    shown = status_of_mesh.look(Site.load())
    for line in shown.lines:
        typer.echo(line)
    if shown.fault:
        raise Failure(shown.fault)


@app.command()
def logs(
    names: Annotated[list[str] | None, typer.Argument(metavar="[PROCESS]...")] = None,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="Of each log.", min=0)] = 40,
) -> None:
    """Show what the processes of the mesh have written."""
    found = logs_of_processes.files(Site.load().logs, names or [])
    logs_of_processes.show(found, typer.echo, lines=lines, follow=follow)


@app.command("lineage")
def lineage_command(
    request_id: Annotated[str, typer.Argument(help="The x-request-id of an answer.")],
    *,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show which model gave an answer of the last day, and its run, code, data and files."""
    walks = lineage.walk(Site.load(), request_id)
    if json:
        typer.echo(models_text.as_json({"answers": [each.to_json() for each in walks]}))
    else:
        typer.echo(lineage.page(request_id, walks))


@app.command()
def check() -> None:
    """Check style, types, the rules between the rooms, and the contracts."""
    checks.run()


@app.command("test")
def run_tests(
    names: Names = None,
    *,
    full: Annotated[bool, typer.Option(help="The tests that need more than a machine.")] = False,
    pytest: Annotated[str, typer.Option(help="Options for pytest, such as '-x -k drain'.")] = "",
) -> None:
    """Run the tests of the rooms named, or of all, each in its own environment."""
    chosen = [each for each in rooms.environments() if each.room in _rooms(names)]
    testing.run(chosen, full=full, options=shlex.split(pytest))


@app.command()
def env(
    names: Names = None,
    *,
    dev: Annotated[bool, typer.Option(help="With what tests and checks need.")] = True,
) -> None:
    """Build the environments of the rooms named, or of all."""
    chosen = _rooms(names)
    environments_of_rooms.sync_all(
        (each for each in rooms.environments() if each.room in chosen), dev=dev
    )


@app.command("images")
def images_command(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...")] = None,
    *,
    builder: Annotated[
        str, typer.Option(metavar="COMMAND", help="'buildah build', 'docker build --no-cache', ...")
    ] = images.BUILDER,
    accelerator: Annotated[str, typer.Option(help="cpu, or gpu.")] = images.CPU,
    tag: Annotated[str, typer.Option(help="In place of the version.", show_default=False)] = "",
) -> None:
    """Build the images named, such as classifier, or all but what takes gigabytes (the llm)."""
    if accelerator not in images.ACCELERATORS:
        raise Failure(f"--accelerator {accelerator!r} is none: choose cpu or gpu")
    for image in images.build(
        names or [], builder=builder, accelerator=accelerator, tag=tag or None
    ):
        typer.echo(image)
    if not names:
        for large in images.large():
            typer.echo(f"left out, since it takes gigabytes: {large} (mesh images {large})")


@app.command("protos")
def protos_command() -> None:
    """Generate the stubs of the contracts anew."""
    protos.generate()


def main() -> None:
    """Runs the command; what a user can mend is said in one line, with exit status 1."""
    try:
        app()
    except (Failure, MeshError, StartError) as failure:
        sys.exit(f"error: {failure}")
    except OSError as error:
        sys.exit(f"error: {of_os_error(error)}")
    except subprocess.TimeoutExpired as late:
        sys.exit(f"error: {late.cmd[0]} did not end within {late.timeout:.0f} s")
    except KeyboardInterrupt:
        sys.exit("interrupted")


def _rooms(names: list[str] | None) -> list[rooms.Room]:
    """The rooms of these names, all of them where there is none."""
    return [rooms.room(name) for name in names] if names else rooms.rooms()


if __name__ == "__main__":
    main()
