"""What a version is made from: data, code and libraries."""

import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mesh_pipelines.sources import Source

_LIBRARIES = ("torch", "transformers", "onnx", "onnxruntime", "tokenizers", "numpy")


def describe_sources(sources: Sequence[Source]) -> dict[str, dict[str, Any]]:
    """Each source with its package, version, licence and the hashes of its files."""
    return {
        source.name: {
            "package": source.package,
            "version": source.version,
            "licence": source.licence,
            "files": {name: file.sha256 for name, file in source.files.items()},
        }
        for source in sources
    }


def git_commit() -> str:
    """The commit of the code, then `-dirty` where files differ; `unknown` outside a repository."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    folder = Path(__file__).parent
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return result.stdout.strip()


def environment() -> dict[str, str]:
    """Versions of the interpreter and of the libraries that the figures depend on."""
    libraries = {library: version(library) for library in _LIBRARIES}
    return {"python": platform.python_version(), "machine": platform.machine(), **libraries}
