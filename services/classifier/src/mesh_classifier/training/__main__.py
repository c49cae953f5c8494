"""Trains the classifier: `python -m mesh_classifier.training --recipe full`."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mesh_classifier.training.sources import fetch_all
from mesh_pipelines.cache import cache_path
from mesh_pipelines.errors import PipelineError, from_os_error
from meshkit.aliases import BadAlias
from meshkit.errors import StartError

# The names of recipes and data, here too, so that a wrong one is told before libraries are loaded.
RECIPES = ("full", "quick")
DATA = ("all", "films", "cleaned")


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains one version and returns the exit status; a failure is one line on stderr."""
    options = _parser().parse_args(arguments)
    # Ended from outside, it cleans up as after an interrupt.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _train(options)
    except (PipelineError, StartError, BadAlias) as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(str(from_os_error(error, "set TMPDIR or MESH_MODELS_PATH to other folders")))
    except KeyboardInterrupt:
        return _fail("interrupted; the same command goes on from the last checkpoint, if any")
    return 0


def _train(options: argparse.Namespace) -> None:
    started = time.monotonic()
    files = fetch_all()
    _say("loading libraries")
    # They take seconds, which must not delay a complaint about the options or the download.
    from mesh_classifier.training.pipeline import Request, promote_first, run  # noqa: PLC0415

    request = Request(
        recipe=options.recipe,
        data=options.data,
        files=files,
        models=options.models_path,
        kept=cache_path() / "training" / "classifier",
        seed=options.seed,
    )
    version = run(request, _say)
    promoted = promote_first(options.models_path, version)
    state = "now in production" if promoted else "not in production yet"
    _say(f"trained classifier:{version} in {time.monotonic() - started:.0f} s, {state}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mesh_classifier.training", description=__doc__)
    parser.add_argument("--recipe", choices=RECIPES, default=RECIPES[0], help="how to train")
    parser.add_argument("--data", choices=DATA, default=DATA[0], help="what to train on")
    parser.add_argument(
        "--models-path",
        type=Path,
        default=os.environ.get("MESH_MODELS_PATH"),
        required="MESH_MODELS_PATH" not in os.environ,
        help="home folder of the model store (default: MESH_MODELS_PATH)",
    )
    parser.add_argument("--seed", type=int, default=20, help="seed of split, sample and training")
    return parser


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _fail(message: str) -> int:
    sys.stderr.write(f"error: {message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
