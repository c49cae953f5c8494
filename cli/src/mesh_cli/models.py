"""The models of a mesh: whether there is one to serve, and the trainings that make them."""

import subprocess
from typing import Annotated

import typer

from mesh_cli import environments
from mesh_cli.failures import Failure
from mesh_cli.rooms import TRAINING, Environment, room
from mesh_cli.settings import Site
from meshkit import aliases

app = typer.Typer(
    help="Train, compare, promote and carry the models that the services serve.",
    no_args_is_help=True,
)


@app.command("train")
def train_command(
    service: Annotated[str, typer.Argument(help="Whose model to train, such as classifier.")],
    recipe: Annotated[str, typer.Option(help="One of the recipes of its training.")] = "quick",
) -> None:
    """Train a service's model and put the version in the model store."""
    train(Site.load(), service, recipe)


def has_production(site: Site, model: str) -> bool:
    """Whether the store has a version of the model that is in production.

    Raises:
        Failure: the alias that names it is damaged.
    """
    try:
        return aliases.read(site.models, model) is not None
    except aliases.BadAlias as error:
        raise Failure(str(error)) from error


def train(site: Site, service: str, recipe: str) -> None:
    """Runs a service's training as a command in its own environment.

    Raises:
        Failure: there is no such service, it does not learn, or the training failed.
    """
    owner = room(f"services/{service}")
    if TRAINING not in owner.extras:
        raise Failure(f"{service} does not learn: its pyproject.toml has no extra {TRAINING!r}")
    environment = Environment(owner, TRAINING)
    environments.sync(environment)
    module = f"mesh_{service}.{TRAINING}"
    trained = subprocess.run(
        [str(environment.python), "-m", module, "--recipe", recipe],
        env=site.process_environment(),
        cwd=owner.path,
        check=False,
    )
    if trained.returncode:
        raise Failure(
            f"the training of {service} failed with status {trained.returncode}: its own words are "
            "above; run the same command again once that is mended"
        )
