"""What the commands that make versions of models share: options, lines, failures."""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from mesh_pipelines.errors import PipelineError, from_os_error


def add_models_path(parser: argparse.ArgumentParser) -> None:
    """Adds the option that names the model store, which the environment may name too."""
    parser.add_argument(
        "--models-path",
        type=Path,
        default=os.environ.get("MESH_MODELS_PATH"),
        required="MESH_MODELS_PATH" not in os.environ,
        help="home folder of the model store (default: MESH_MODELS_PATH)",
    )


def say(line: str) -> None:
    """Writes a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def exit_status(
    work: Callable[[], None], failures: tuple[type[Exception], ...], interrupted: str
) -> int:
    """Does the work and returns the exit status; a failure is one line on stderr.

    Args:
        work: makes the version.
        failures: whose messages say enough, besides those of this package.
        interrupted: what to say where it was ended from outside; it cleans up before that.
    """
    known: tuple[type[Exception], ...] = (PipelineError, *failures)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        work()
    except known as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(str(from_os_error(error, "set TMPDIR or MESH_MODELS_PATH to other folders")))
    except KeyboardInterrupt:
        return _fail(interrupted)
    return 0


def _fail(message: str) -> int:
    sys.stderr.write(f"error: {message}\n")
    return 1
