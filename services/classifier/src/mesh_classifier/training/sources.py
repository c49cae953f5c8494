"""The data sources of the classifier."""

from pathlib import Path
from typing import Any, Final

from mesh_pipelines import text_encoder
from mesh_pipelines.fetch import fetch
from mesh_pipelines.sources import load_sources

RATED_TEXTS: Final = "hutto_ICWSM_2014.tar.gz"
_SOURCES: Final = ("rated-texts", text_encoder.SOURCE)


def fetch_all() -> dict[str, Path]:
    """The files of every source by the names above, downloaded where the cache lacks them.

    Raises:
        PipelineError: a file can't be had.
    """
    manifest = load_sources()
    return {name: path for source in _SOURCES for name, path in fetch(manifest[source]).items()}


def describe() -> dict[str, dict[str, Any]]:
    """Each source with its package, version, licence and the hashes of its files."""
    manifest = load_sources()
    return {name: manifest[name].describe() for name in _SOURCES}
