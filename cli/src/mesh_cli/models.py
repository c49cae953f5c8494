"""The models of a mesh: whether there is one to serve, and the trainings that make them."""

import subprocess
from collections.abc import Sequence
from typing import Annotated

import typer

from mesh_cli import environments
from mesh_cli.failures import Failure
from mesh_cli.rooms import ENGINE, TRAINING, Environment, check_checkout, room
from mesh_cli.settings import Site
from meshkit import aliases

app = typer.Typer(
    help="Train, compare, promote and carry the models that the services serve.",
    no_args_is_help=True,
)


@app.command("train", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def train_command(
    context: typer.Context,
    service: Annotated[str, typer.Argument(help="Whose model to train, such as classifier.")],
) -> None:
    """Train a service's model and put the version in the model store.

    Further options are those of its training: mesh models train classifier -- --help
    """
    train(Site.load(), service, context.args)


def has_production(site: Site, model: str) -> bool:
    """Whether the store has a version of the model that is in production.

    Raises:
        Failure: the alias that names it is damaged.
    """
    try:
        return aliases.read(site.models, model) is not None
    except aliases.BadAlias as error:
        raise Failure(str(error)) from error


def train(site: Site, service: str, options: Sequence[str] = ()) -> None:
    """Runs a service's training as a command in its own environment.

    Args:
        site: the mesh whose store the version goes to.
        service: whose model to train.
        options: for the training, such as `--recipe quick`.

    Raises:
        Failure: there is no such service, it does not learn, or the training failed.
    """
    if status := _run(site, service, "train", TRAINING, options):
        raise Failure(
            f"the training of {service} failed with status {status}: its own words are above; run "
            "the same command again once that is mended"
        )


def report(site: Site, service: str, options: Sequence[str]) -> None:
    """Runs the command that writes the pages of a version's report.

    Args:
        site: the mesh whose store has the version.
        service: whose model it is.
        options: which version, and where to write what.

    Raises:
        Failure: there is no such service, it does not learn, or the pages can't be written.
    """
    if status := _run(site, service, "report", f"{TRAINING}.report", options):
        raise Failure(f"no report was written (status {status}): the reason is above")


def evaluate(site: Site, service: str, options: Sequence[str]) -> None:
    """Runs the command that measures a version as the service's engine serves it.

    Args:
        site: the mesh whose store has the version.
        service: whose model it is.
        options: which version, and where to write what.

    Raises:
        Failure: there is no such service, it has no engine of its own, or it can't be measured.
    """
    check_checkout("mesh models evaluate")
    owner = room(f"services/{service}")
    if ENGINE not in owner.extras:
        raise Failure(
            f"{service} has no engine to evaluate: mesh models report {service} writes what its "
            "training has measured"
        )
    engine = Environment(owner, ENGINE)
    environments.sync(engine)
    told = [*options, "--engine-python", str(engine.python)]
    if status := _run(site, service, "evaluate", f"{TRAINING}.evaluation", told):
        raise Failure(f"nothing was evaluated (status {status}): the reason is above")


def _run(site: Site, service: str, command: str, module: str, options: Sequence[str]) -> int:
    """Runs a module of a service in the environment of its training; the exit status."""
    check_checkout(f"mesh models {command}")
    owner = room(f"services/{service}")
    if TRAINING not in owner.extras:
        raise Failure(f"{service} does not learn: its pyproject.toml has no extra {TRAINING!r}")
    environment = Environment(owner, TRAINING)
    environments.sync(environment)
    return subprocess.run(
        [str(environment.python), "-m", f"mesh_{service}.{module}", *options],
        env=site.process_environment(),
        cwd=owner.path,
        check=False,
    ).returncode
