"""The data sources of the classifier."""

from pathlib import Path
from typing import Any, Final

from mesh_pipelines.fetch import fetch
from mesh_pipelines.sources import load_sources

RATED_TEXTS: Final = "hutto_ICWSM_2014.tar.gz"
ENCODER_CONFIG: Final = "config.json"
ENCODER_WEIGHTS: Final = "model.safetensors"
TOKENIZER: Final = "tokenizer.json"
_SOURCES: Final = ("rated-texts", "text-encoder")


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
    return {
        name: {
            "package": manifest[name].package,
            "version": manifest[name].version,
            "licence": manifest[name].licence,
            "files": {file: entry.sha256 for file, entry in manifest[name].files.items()},
        }
        for name in _SOURCES
    }
