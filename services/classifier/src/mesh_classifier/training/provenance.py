"""What a version is made with: code and libraries."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

_LIBRARIES = ("torch", "transformers", "onnx", "onnxruntime", "tokenizers", "numpy")


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
