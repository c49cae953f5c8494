"""How much memory this machine has, or the container that it is seen from."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

import psutil

_CGROUPS: Final = Path("/sys/fs/cgroup")
_MEMBERSHIP: Final = Path("/proc/self/cgroup")


def total_bytes(cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """The memory that there is: the machine's, or what a control group grants of it.

    Args:
        cgroups: where control groups are mounted, of version 1 or 2.
        membership: the file that names the process's groups, one line a hierarchy.
    """
    limits = [limit for group in _groups(cgroups, membership) if (limit := _limit(group))]
    return min([psutil.virtual_memory().total, *limits])


def free_bytes(cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """The memory that a process could still take without another one being in need."""
    left = [
        limit - used
        for group in _groups(cgroups, membership)
        if (limit := _limit(group)) and (used := _used(group)) is not None
    ]
    return max(0, min([psutil.virtual_memory().available, *left]))


def _groups(cgroups: Path, membership: Path) -> Iterator[Path]:
    """The folders of the process's groups that may limit memory, and of those above them."""
    try:
        lines = membership.read_text("ascii").splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        mount = cgroups / "memory" if controllers else cgroups
        # Seen from within a container the path may be one of the machine, which is not there.
        parts = [part for part in PurePosixPath(path).parts[1:] if part != ".."]
        yield from (mount.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1))


def _limit(group: Path) -> int | None:
    return _number(group / "memory.max") or _number(group / "memory.limit_in_bytes")


def _used(group: Path) -> int | None:
    """What a group has taken, less what the kernel would give back: files that it keeps."""
    current = _number(group / "memory.current") or _number(group / "memory.usage_in_bytes")
    if current is None:
        return None
    try:
        rows = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return current
    return current - int(rows.get("total_inactive_file") or rows.get("inactive_file") or 0)


def _number(file: Path) -> int | None:
    """The number in a file; None where there is none, or the word for no limit."""
    try:
        text = file.read_text("ascii").strip()
    except OSError:  # absent: another version, or no limit at this level
        return None
    return int(text) if text.isdigit() else None
