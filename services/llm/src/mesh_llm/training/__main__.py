"""Makes a version of the default model: `python -m mesh_llm.training`."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mesh_llm.training import sources
from mesh_pipelines.cache import cache_path, exclusive
from mesh_pipelines.errors import PipelineError, from_os_error
from meshkit.aliases import BadAlias
from meshkit.errors import StartError


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes one version and returns the exit status; a failure is one line on stderr."""
    options = _parser().parse_args(arguments)
    # Ended from outside, it cleans up as after an interrupt.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with exclusive(cache_path() / "training" / "llm", "a making of this model"):
            _make(options.models_path, again=options.again)
    except (PipelineError, StartError, BadAlias) as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(str(from_os_error(error, "set TMPDIR or MESH_MODELS_PATH to other folders")))
    except KeyboardInterrupt:
        return _fail("interrupted; what was downloaded is kept")
    return 0


def _make(models: Path, *, again: bool) -> None:
    if not again and (version := sources.made_of_them(models, sources.MODEL)):
        _say(f"llm:{version} is this model already; --again makes another version of it")
        return
    started = time.monotonic()
    parts = sources.fetch_all()
    _say("loading libraries")
    # Everything is here: a library that looks for more on a hub would only wait for it.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # They take seconds, which must not delay a complaint about the options or the download.
    from mesh_llm.training.build import build, promote_first  # noqa: PLC0415

    version = build(parts, models, _say)
    state = "now in production" if promote_first(models, version) else "not in production yet"
    _say(f"made llm:{version} in {time.monotonic() - started:.0f} s, {state}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mesh_llm.training", description=__doc__)
    parser.add_argument(
        "--models-path",
        type=Path,
        default=os.environ.get("MESH_MODELS_PATH"),
        required="MESH_MODELS_PATH" not in os.environ,
        help="home folder of the model store (default: MESH_MODELS_PATH)",
    )
    parser.add_argument(
        "--again", action="store_true", help="make a version though there is one of this model"
    )
    return parser


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _fail(message: str) -> int:
    sys.stderr.write(f"error: {message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
