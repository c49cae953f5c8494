"""Runs uv, the installer: its progress in our line, its failures in one."""

import functools
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from mesh_cli.failures import Failure
from mesh_cli.progress import Step
from mesh_cli.rooms import MISLEADING, ROOT

TOOLS = ROOT / "cli" / ".venv-tools"
UV = TOOLS / "bin" / "uv"
LOG = ROOT / "cli" / ".venv-install.log"

_AGAIN = "run the same command again: what was downloaded is kept"
# An unknown failure is quoted up to here; a resolver can fill pages.
_LONGEST = 400
# Matched against the installer's output (uv's and pip's) in this order.
_KNOWN = (
    (
        r"ensurepip is (not available|disabled)|No module named '?(venv|ensurepip)",
        "this Python can't make environments: install its venv module (on Debian and Ubuntu the "
        "package python3-venv), or name another Python (make PYTHON=/path/to/python3.11 ...)",
    ),
    (
        r"No space left on device|os error 28\b|Disk quota exceeded",
        f"the disk is full: free some space (df -h shows where), then {_AGAIN}",
    ),
    (
        r"hash mismatch|do not match the hashes|no trusted hash",
        "a downloaded package is not the one that was recorded (its hash differs): run the same "
        "command again; if it stays so, the index alters packages: name another (PIP_INDEX_URL)",
    ),
    (
        r"dns error|name resolution|Failed to fetch|Failed to download|error sending request"
        r"|from versions: none"
        r"|connection (error|refused|reset|broken)|timed? ?out|error decoding response body"
        r"|IncompleteRead|NewConnectionError|SSLError|invalid peer certificate|status code: 5\d\d",
        "a download broke off: check the connection (or name your package index in "
        f"PIP_INDEX_URL), then {_AGAIN}",
    ),
    (
        r"no wheels with a matching Python|the current Python version \(.*\) does not satisfy",
        "a package does not support this Python: use Python 3.11, 3.12 or 3.13 "
        "(make PYTHON=/path/to/python3.11 ...)",
    ),
    (
        r"Permission denied|Read-only file system",
        "no permission to write: the files of this repository and the cache of uv must be yours "
        "(sudo leaves files of root behind)",
    ),
)


def explain(output: str) -> str:
    """Says an installer's failed run in one line: the known cause and its remedy, else its words.

    Args:
        output: what the installer wrote, at least its end.
    """
    for pattern, remedy in _KNOWN:
        if re.search(pattern, output, re.IGNORECASE):
            return remedy
    lines = [line.strip() for line in output.splitlines()]
    starts = [place for place, line in enumerate(lines) if re.match(r"(error|cause):", line)]
    if not starts:
        return next((line for line in reversed(lines) if line), "it said nothing")
    # The last cause is the deepest; it may run over several lines, up to an empty one.
    last = lines[starts[-1] :]
    words = " ".join(last[: [*last, ""].index("")]).partition(": ")[2]
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]} ..."


def run(arguments: Sequence[str], step: Step, *, cwd: Path = ROOT) -> None:
    """Runs uv and keeps its output in the install log.

    Raises:
        Failure: uv failed; the text says why and what to do.
    """
    run_installer([str(UV), *arguments], step, cwd=cwd)


def run_installer(command: Sequence[str], step: Step, *, cwd: Path = ROOT) -> None:
    """Runs an installer (uv or pip), its latest line as the step's note.

    Raises:
        Failure: it failed; the text says why and what to do.
    """
    tail: list[str] = []
    with (
        LOG.open("a", encoding="utf-8") as log,
        subprocess.Popen(
            command,
            cwd=cwd,
            env=_clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        log.write(f"$ {' '.join(command)}\n")
        for line in process.stdout or ():
            log.write(line)
            tail = [*tail[-99:], line]
            if line.strip() and not line.startswith(" +"):
                step.note(line.strip())
    if process.returncode:
        raise Failure(f"{explain(''.join(tail))} (the whole output: {LOG})")


def _clean_environment() -> dict[str, str]:
    """This process's environment, less what would send an installer to another environment."""
    kept = {name: value for name, value in os.environ.items() if name not in MISLEADING}
    # The interpreter is the user's; a download of another would come from outside the registries.
    own = {"UV_PYTHON_DOWNLOADS": "never", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return _index() | kept | own


@functools.cache
def _index() -> dict[str, str]:
    """The index of the user's pip, in uv's words: uv reads no configuration of pip."""
    if "UV_INDEX_URL" in os.environ or "UV_DEFAULT_INDEX" in os.environ:
        return {}
    told = os.environ.get("PIP_INDEX_URL")
    if not told and UV.exists():
        get = [str(TOOLS / "bin" / "python"), "-m", "pip", "config", "get", "global.index-url"]
        told = subprocess.run(get, capture_output=True, text=True, check=False).stdout.strip()
    return {"UV_DEFAULT_INDEX": told} if told else {}
