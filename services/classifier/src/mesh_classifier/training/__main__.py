"""Trains the classifier: `python -m mesh_classifier.training --recipe quick`."""

import argparse
import os
import sys
import time
from pathlib import Path

from mesh_pipelines.errors import PipelineError, from_os_error


def main(arguments: list[str] | None = None) -> int:
    """Trains one version and returns the exit status; failures are one line on stderr."""
    options = _parser().parse_args(arguments)
    _say("loading libraries")
    started = time.monotonic()
    # Imported here, so that a mistake in the options is told at once.
    from mesh_classifier.training.pipeline import Request, promote_first, run  # noqa: PLC0415

    try:
        version = run(Request(options.recipe, options.models_path, options.seed), _say)
        promoted = promote_first(options.models_path, version)
    except PipelineError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(str(from_os_error(error, Path(error.filename or options.models_path))))
    except KeyboardInterrupt:
        return _fail("interrupted; nothing was saved")
    seconds = time.monotonic() - started
    _say(f"saved classifier:{version} in {seconds:.0f} s" + (", now in production" * promoted))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mesh_classifier.training", description=__doc__)
    parser.add_argument("--recipe", choices=["quick"], default="quick", help="how to train")
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
