"""Shows what the processes of a mesh have written."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mesh_cli.failures import Failure

_POLL_S = 0.25
_LONGEST_TAIL_BYTES = 1 << 20


def files(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """The log of each process named, or of all.

    Raises:
        Failure: there is no log of that name.
    """
    found = {path.stem: path for path in sorted(folder.glob("*.log"))}
    if not found:
        raise Failure(f"there are no logs in {folder} yet: make up writes some")
    for name in names:
        if name not in found:
            raise Failure(f"there is no log of {name!r}: choose from {', '.join(found)}")
    return {name: found[name] for name in names or found}


def show(logs: dict[str, Path], write: Callable[[str], None], *, lines: int, follow: bool) -> None:
    """Writes the last lines of each log, then, when following, every new one until interrupted.

    Args:
        logs: the logs by the name of their process, which stands before each line.
        write: takes each line.
        lines: how many of each are shown at first.
        follow: go on with new ones.
    """
    width = max(map(len, logs))
    places = {}
    for name, path in logs.items():
        content, places[name] = _read(path, max(0, path.stat().st_size - _LONGEST_TAIL_BYTES))
        for line in content.splitlines()[-lines:] if lines else ():
            write(f"{name:{width}} | {line}")
    while follow:
        time.sleep(_POLL_S)
        for name, path in logs.items():
            content, places[name] = _read(path, places[name])
            for line in content.splitlines():
                write(f"{name:{width}} | {line}")


def _read(path: Path, place: int) -> tuple[str, int]:
    """The whole lines from a place on, and the place after them; from 0 where the log was cut."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(place if place <= size else 0)
        start = file.tell()
        content = file.read()
    whole = content.rfind(b"\n") + 1
    return content[:whole].decode(errors="replace"), start + whole
