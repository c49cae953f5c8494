"""Runs uv, the installer: its progress in our line, its failures in one."""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from mesh_cli.failures import Failure
from mesh_cli.progress import Step
from mesh_cli.rooms import ROOT

TOOLS = ROOT / "cli" / ".venv-tools"
UV = TOOLS / "bin" / "uv"
LOG = TOOLS / "install.log"

_AGAIN = "run the same command again: what was downloaded is kept"
# Matched against the installer's output (uv's and pip's), first match wins.
_KNOWN = (
    (
        re.compile(r"ensurepip|No module named '?venv"),
        "this Python can't make environments: install its venv module (on Debian and Ubuntu the package "
        "python3-venv), or name another Python (make PYTHON=/path/to/python3.11 ...)",
    ),
    (
        re.compile(r"No space left on device|os error 28\b|Disk quota exceeded", re.I),
        f"the disk is full: free some space (`df -h`), then {_AGAIN}",
    ),
    (
        re.compile(r"hash mismatch|do not match the hashes|no trusted hash", re.I),
        "a downloaded package is not the one that was recorded (its hash differs): run the same command "
        "again; if it stays so, the package index alters packages: use another (UV_DEFAULT_INDEX)",
    ),
    (
        re.compile(
            r"dns error|name resolution|Failed to fetch|Failed to download|error sending request"
            r"|connection (error|refused|reset|broken)|timed? ?out|error decoding response body"
            r"|IncompleteRead|NewConnectionError|SSLError|invalid peer certificate|status code: 5\d\d",
            re.I,
        ),
        f"a download broke off: check the connection (or set UV_DEFAULT_INDEX to your index), then {_AGAIN}",
    ),
    (
        re.compile(r"no wheels with a matching Python|the current Python version \(.*\) does not satisfy"),
        "a package does not support this Python: use Python 3.11, 3.12 or 3.13 "
        "(PYTHON=/path/to/python3.11 make ...)",
    ),
    (
        re.compile(r"Permission denied|Read-only file system", re.I),
        "no permission to write: the files of this repository and the cache of uv must be yours "
        "(sudo leaves files of root behind)",
    ),
)


def explain(output: str) -> str:
    """Says an installer's failed run in one line: the known cause and its remedy, else its own words."""
    for pattern, remedy in _KNOWN:
        if pattern.search(output):
            return remedy
    lines = [line.strip() for line in output.splitlines()]
    starts = [place for place, line in enumerate(lines) if re.match(r"error\b|cause:", line, re.I)]
    if not starts:
        return next((line for line in reversed(lines) if line), "it said nothing")
    # The last cause is the deepest; it may run over several lines, up to an empty one.
    words = " ".join(lines[starts[-1] :]) + "  "
    return words[: words.index("  ")].partition(": ")[2]


def run(arguments: Sequence[str | Path], step: Step, *, cwd: Path = ROOT) -> None:
    """Runs uv and keeps its output in the install log.

    Raises:
        Failure: uv failed; the text says why and what to do.
    """
    run_installer([UV, *arguments], step, cwd=cwd)


def run_installer(command: Sequence[str | Path], step: Step, *, cwd: Path = ROOT) -> None:
    """Runs an installer (uv or pip), its latest line as the step's note.

    Raises:
        Failure: it failed; the text says why and what to do.
    """
    tail: list[str] = []
    LOG.parent.mkdir(parents=True, exist_ok=True)
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
        assert process.stdout is not None  # it was asked for, above
        log.write(f"$ {' '.join(map(str, command))}\n")
        for line in process.stdout:
            log.write(line)
            tail = [*tail[-99:], line]
            if line.strip() and not line.startswith(" +"):
                step.note(line.strip())
    if process.returncode:
        raise Failure(f"{explain(''.join(tail))} (the whole output: {LOG})")


def _clean_environment() -> dict[str, str]:
    """This process's environment, less what would send an installer to another environment."""
    drop = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH", "UV_PROJECT_ENVIRONMENT")
    kept = {name: value for name, value in os.environ.items() if name not in drop}
    # The interpreter is the user's; a download of another would come from outside the registries.
    return kept | {"UV_PYTHON_DOWNLOADS": "never", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
