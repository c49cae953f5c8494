"""The processor time that this process may use, as the size of its thread pools.

Libraries size their pools from the machine's cores; in a container with a quota of a few of them
the surplus threads are throttled together. ONNX Runtime ignores the variables that are set here,
so its sessions are given `threads()` directly.
"""

import logging
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from meshkit import names, telemetry

POOL_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_READ_AT_IMPORT: Final = ("numpy", "onnxruntime", "faiss", "torch")
_CGROUPS: Final = Path("/sys/fs/cgroup")
_MEMBERSHIP: Final = Path("/proc/self/cgroup")

_log = logging.getLogger(__name__)
_threads = telemetry.gauge(names.CPU_THREADS, "{thread}", "Threads that each pool is sized to.")


def threads(cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Threads that can run at once: the affinity mask, or the cgroup quota where that is less."""
    available = len(os.sched_getaffinity(0))
    limit = quota(cgroups, membership)
    return available if limit is None else max(1, min(available, math.ceil(limit)))


def quota(cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> float | None:
    """Cores that the tightest enclosing cgroup (v1 or v2) allows; None without a limit.

    Source: the kernel's cgroup-v2.rst (`cpu.max`) and sched-bwc.rst (`cpu.cfs_quota_us`).

    Args:
        cgroups: where the cgroup file systems are mounted.
        membership: the file that says which groups the process is in.
    """
    return min(_quotas(cgroups, membership), default=None)


def size_thread_pools() -> int:
    """Sets the variables that numerical libraries size their pools by, where they are not set.

    Returns:
        The number of threads.
    """
    count = threads()
    for variable in POOL_VARIABLES:
        os.environ.setdefault(variable, str(count))
    if late := [name for name in _READ_AT_IMPORT if name in sys.modules]:
        _log.warning("%s were imported before their pools were sized", ", ".join(late))
    _threads.set(count)
    _log.info("sized the thread pools", extra={"threads": count, "quota": quota()})
    return count


def _quotas(cgroups: Path, membership: Path) -> Iterator[float]:
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        hierarchy, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if hierarchy == "0" and not controllers:
            yield from _enclosing(cgroups, group, _quota_v2)
        elif "cpu" in controllers.split(","):
            for mount in (cgroups / controllers, cgroups / "cpu"):
                yield from _enclosing(mount, group, _quota_v1)


def _enclosing(mount: Path, group: str, read: Callable[[Path], float | None]) -> Iterator[float]:
    """The limits of a group and of all around it; a container may see only the outermost."""
    path = PurePosixPath(group.lstrip("/"))
    for folder in (path, *path.parents):
        try:
            limit = read(mount / folder)
        except (OSError, ValueError):
            continue
        if limit is not None:
            yield limit


def _quota_v2(folder: Path) -> float | None:
    limit, period = (folder / "cpu.max").read_text().split()
    return None if limit == "max" else int(limit) / int(period)


def _quota_v1(folder: Path) -> float | None:
    limit = int((folder / "cpu.cfs_quota_us").read_text())
    return None if limit < 0 else limit / int((folder / "cpu.cfs_period_us").read_text())
