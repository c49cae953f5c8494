"""Writes the evaluation of a version: `python -m mesh_llm.training.evaluation --help`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from mesh_llm.training.sources import MODEL
from mesh_pipelines.training_command import add_models_path, exit_status, say
from meshkit import store
from meshkit.errors import StartError


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and writes; returns the exit status; a failure is one line on stderr."""
    options = _parser().parse_args(arguments)
    return exit_status(
        lambda: _evaluate(options), (StartError,), "interrupted; nothing was written"
    )


def _evaluate(options: argparse.Namespace) -> None:
    version = store.open_version(options.models_path, MODEL, options.version)
    say("loading libraries")
    # Everything is here: a library that looks for more on a hub would only wait for it.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # They take seconds, which must not delay a complaint about the options.
    from mesh_llm.training.evaluation import build, page  # noqa: PLC0415

    wish = build.Wish(
        options.engine_python, options.calls, options.windows, compiled=not options.no_compile
    )
    evaluation = build.build(version, wish, say)
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(page.render(evaluation), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mesh_llm.training.evaluation")
    add_models_path(parser)
    parser.add_argument("--version", required=True, help="the version to evaluate")
    parser.add_argument("--page", type=Path, required=True, help="where to write, in Markdown")
    parser.add_argument(
        "--engine-python",
        type=Path,
        required=True,
        help="interpreter of the environment that has the engine",
    )
    parser.add_argument("--calls", type=int, default=100, help="cases of calls to ask (100)")
    parser.add_argument("--windows", type=int, default=16, help="pieces of text to predict (16)")
    parser.add_argument(
        "--no-compile",
        action="store_true",
        help="serve without compiling the model: minutes less for each form, and slower answers",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
