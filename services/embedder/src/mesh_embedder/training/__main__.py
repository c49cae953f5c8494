"""Makes a version of the embedder: `python -m mesh_embedder.training`."""

import argparse
import sys
import time
from collections.abc import Sequence

from mesh_pipelines import text_encoder
from mesh_pipelines.cache import cache_path, exclusive
from mesh_pipelines.fetch import fetch
from mesh_pipelines.sources import load_sources
from mesh_pipelines.training_command import add_models_path, exit_status, say
from meshkit.aliases import BadAlias, promote_first
from meshkit.errors import StartError


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes one version and returns the exit status; a failure is one line on stderr."""
    options = _parser().parse_args(arguments)

    def work() -> None:
        with exclusive(cache_path() / "training" / "embedder", "a making of this model"):
            _make(options)

    return exit_status(work, (StartError, BadAlias), "interrupted; what was downloaded is kept")


def _make(options: argparse.Namespace) -> None:
    started = time.monotonic()
    source = load_sources()[text_encoder.SOURCE]
    files = fetch(source)
    say("loading libraries")
    # They take seconds, which must not delay a complaint about the options or the download.
    from mesh_embedder.training.build import MODEL, build  # noqa: PLC0415

    version = build(source, files, options.models_path, say)
    promoted = promote_first(options.models_path, MODEL, version)
    state = "now in production" if promoted else "not in production yet"
    say(f"made {MODEL}:{version} in {time.monotonic() - started:.0f} s, {state}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mesh_embedder.training", description=__doc__)
    add_models_path(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
