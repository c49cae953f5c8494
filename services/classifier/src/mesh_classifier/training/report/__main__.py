"""Writes the pages of a version's report: `python -m mesh_classifier.training.report --help`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from mesh_classifier.training.report import document, render
from mesh_pipelines.errors import PipelineError, from_os_error
from meshkit.errors import StartError

_MODEL = "classifier"


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes what was asked for and returns the exit status; a failure is one line on stderr."""
    options = _parser().parse_args(arguments)
    try:
        content = document.gather(options.models_path, _MODEL, options.version)
        if options.page:
            _write(options.page, render.page(content))
        if options.card:
            write_card(content, options.card)
    except (PipelineError, StartError) as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(str(from_os_error(error, "name another file")))
    return 0


def write_card(content: document.Document, path: Path) -> None:
    """Writes the model card, and beside it a folder with its plots and the figures it says."""
    folder = path.with_suffix("")
    for name, svg in render.drawn(content.report).items():
        _write(folder / f"{name}.svg", svg)
    figures = msgspec.json.format(msgspec.json.encode(content), indent=1)
    _write(folder / "figures.json", figures.decode() + "\n")
    _write(path, render.card(content, folder.name))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mesh_classifier.training.report", description=__doc__
    )
    parser.add_argument(
        "--models-path",
        type=Path,
        default=os.environ.get("MESH_MODELS_PATH"),
        required="MESH_MODELS_PATH" not in os.environ,
        help="home folder of the model store (default: MESH_MODELS_PATH)",
    )
    parser.add_argument("--version", required=True, help="the version to report on")
    parser.add_argument("--page", type=Path, help="where to write the page, a file of HTML")
    parser.add_argument("--card", type=Path, help="where to write the model card, in Markdown")
    return parser


def _fail(message: str) -> int:
    sys.stderr.write(f"error: {message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
