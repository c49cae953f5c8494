"""Makes a version of the default model, or of an adapter of it: `python -m mesh_llm.training`."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mesh_llm.training import adapter_tasks, sources
from mesh_pipelines.cache import cache_path, exclusive
from mesh_pipelines.training_command import add_models_path, exit_status, say
from meshkit import aliases
from meshkit.aliases import BadAlias
from meshkit.errors import StartError


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes one version and returns the exit status; a failure is one line on stderr."""
    options = _parser().parse_args(arguments)

    def work() -> None:
        with exclusive(cache_path() / "training" / "llm", "a making of this model"):
            if options.adapter:
                _make_adapter(options.models_path, options.adapter)
            else:
                _make(options.models_path, again=options.again)

    return exit_status(work, (StartError, BadAlias), "interrupted; what was downloaded is kept")


def _make(models: Path, *, again: bool) -> None:
    if not again and (version := sources.made_of_them(models, sources.MODEL)):
        say(f"llm:{version} is this model already; --again makes another version of it")
        return
    started = time.monotonic()
    parts = sources.fetch_all()
    say("loading libraries")
    # Everything is here: a library that looks for more on a hub would only wait for it.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # They take seconds, which must not delay a complaint about the options or the download.
    from mesh_llm.training.build import build  # noqa: PLC0415

    version = build(parts, models, say)
    state = (
        "now in production"
        if aliases.promote_first(models, sources.MODEL, version)
        else "not in production yet"
    )
    say(f"made llm:{version} in {time.monotonic() - started:.0f} s, {state}")


def _make_adapter(models: Path, adapter: str) -> None:
    started = time.monotonic()
    say("loading libraries")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from mesh_llm.training import adapters  # noqa: PLC0415  # as above

    version = adapters.build(adapter, models, say)
    name = adapters.model_of(adapter)
    state = (
        "now in production"
        if aliases.promote_first(models, name, version)
        else "not in production yet"
    )
    say(f"made {name}:{version} in {time.monotonic() - started:.0f} s, {state}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mesh_llm.training", description=__doc__)
    add_models_path(parser)
    parser.add_argument(
        "--again", action="store_true", help="make a version though there is one of this model"
    )
    parser.add_argument(
        "--adapter",
        choices=sorted(adapter_tasks.TASKS),
        help="train an adapter of the model in production (LoRA), in place of a model",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
