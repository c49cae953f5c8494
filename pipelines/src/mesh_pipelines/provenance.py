"""What a version is made with: code and libraries."""

import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path


def git_commit(code: Path) -> str:
    """The commit of the code, then `-dirty` where files differ; `unknown` outside a repository.

    Args:
        code: a file of the code that makes the version.
    """
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        result = subprocess.run(
            command, cwd=code.parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return result.stdout.strip()


def environment(libraries: Iterable[str]) -> dict[str, str]:
    """Versions of the interpreter and of libraries that what is made depends on."""
    versions = {library: version(library) for library in libraries}
    return {"python": platform.python_version(), "machine": platform.machine(), **versions}
