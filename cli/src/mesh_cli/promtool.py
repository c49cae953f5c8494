"""The promtool that rules are checked with: the machine's own, else Debian's, without root."""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final, TextIO

from mesh_cli.failures import Failure
from mesh_cli.progress import Step
from mesh_cli.rooms import ROOT

FETCHED: Final = ROOT / "cli" / ".venv-promtool" / "promtool"
_PACKAGE: Final = "prometheus"
_MEMBER: Final = "./usr/bin/promtool"
_TIMEOUT_S: Final = 300
_REMEDY: Final = (
    "install promtool and put it on PATH: it comes with Prometheus (Debian and Ubuntu: the package "
    "prometheus; macOS: brew install prometheus; with Go: go install "
    "github.com/prometheus/prometheus/cmd/promtool@v0.316.0)"
)


def path(out: TextIO | None = None) -> Path:
    """Where promtool is.

    Args:
        out: where the progress of a fetch is shown; standard output by default.

    Raises:
        Failure: there is none, and none could be fetched; the text says what to install.
    """
    own = shutil.which("promtool")
    if own:
        return Path(own)
    if not FETCHED.exists():
        if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
            raise Failure(f"there is no promtool: {_REMEDY}")
        with Step("fetch promtool", out) as step:
            _fetch(step)
    return FETCHED


def _fetch(step: Step) -> None:
    """Takes promtool out of the package, which apt verifies; nothing is installed."""
    FETCHED.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FETCHED.parent) as name:
        folder = Path(name)
        for each in ("lists/partial", "cache/archives/partial"):
            (folder / each).mkdir(parents=True)
        apt = [
            "apt-get",
            *(
                "-o",
                f"Dir::State::lists={folder / 'lists'}",
                "-o",
                f"Dir::Cache={folder / 'cache'}",
            ),
            # apt run by root fetches as a user that could not write here.
            *("-o", "APT::Sandbox::User=", "-o", "Debug::NoLocking=1", "-qq"),
        ]
        step.note("reading the lists of packages")
        _run([*apt, "update"], folder)
        step.note(f"fetching the package {_PACKAGE}")
        _run([*apt, "download", _PACKAGE], folder)
        (package,) = folder.glob(f"{_PACKAGE}_*.deb")
        _run(["dpkg-deb", "--extract", str(package), str(folder / "root")], folder)
        (folder / "root" / _MEMBER).replace(FETCHED)


def _run(command: list[str], folder: Path) -> None:
    try:
        ran = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Failure(
            f"{command[0]} did not end in {_TIMEOUT_S} s: try again, or {_REMEDY}"
        ) from error
    if ran.returncode:
        said = (ran.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise Failure(f"{command[0]} could not fetch promtool ({said}): {_REMEDY}")
