"""Trains the classifier: `python -m mesh_classifier.training --recipe full`."""

import argparse
import sys
import time
from collections.abc import Sequence

from mesh_classifier.training.sources import fetch_all
from mesh_pipelines.cache import cache_path
from mesh_pipelines.training_command import add_models_path, exit_status, say
from meshkit.aliases import BadAlias, promote_first
from meshkit.errors import StartError

# The names of recipes and data, here too, so that a wrong one is told before libraries are loaded.
RECIPES = ("full", "quick")
DATA = ("all", "films", "cleaned")


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains one version and returns the exit status; a failure is one line on stderr."""
    options = _parser().parse_args(arguments)
    return exit_status(
        lambda: _train(options),
        (StartError, BadAlias),
        "interrupted; the same command goes on from the last checkpoint, if any",
    )


def _train(options: argparse.Namespace) -> None:
    started = time.monotonic()
    files = fetch_all()
    say("loading libraries")
    # They take seconds, which must not delay a complaint about the options or the download.
    from mesh_classifier.training.pipeline import MODEL, Request, run  # noqa: PLC0415

    request = Request(
        recipe=options.recipe,
        data=options.data,
        files=files,
        models=options.models_path,
        kept=cache_path() / "training" / "classifier",
        seed=options.seed,
    )
    version = run(request, say)
    promoted = promote_first(options.models_path, MODEL, version)
    state = "now in production" if promoted else "not in production yet"
    say(f"trained classifier:{version} in {time.monotonic() - started:.0f} s, {state}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mesh_classifier.training", description=__doc__)
    parser.add_argument("--recipe", choices=RECIPES, default=RECIPES[0], help="how to train")
    parser.add_argument("--data", choices=DATA, default=DATA[0], help="what to train on")
    add_models_path(parser)
    parser.add_argument("--seed", type=int, default=20, help="seed of split, sample and training")
    return parser


if __name__ == "__main__":
    sys.exit(main())
