"""How many threads a process may keep busy, and thread pools of that size.

A container sees every CPU of its node, but the kernel stops it for the rest of each period once its
quota is used up: a pool as large as the node spends most of its time stopped. Numerical libraries
read their pool's size when they are imported, so it must be set before that. ONNX Runtime reads no
such variable; its sessions take `threads()` (see `meshkit.onnx`).
"""

import functools
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from meshkit import names, telemetry

_log = logging.getLogger(__name__)

_CGROUPS: Final = Path("/sys/fs/cgroup")
_MEMBERSHIP: Final = Path("/proc/self/cgroup")

# What sizes the pools of OpenMP (faiss, torch), OpenBLAS and MKL (numpy), numexpr, BLIS and
# Rust's rayon (tokenizers).
POOL_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "RAYON_NUM_THREADS",
)
# Libraries that read one of them when they are imported.
_READERS: Final = ("numpy", "scipy", "onnxruntime", "tokenizers", "torch", "faiss", "sklearn")


def quota(cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> float | None:
    """CPU time that the process's control group grants, in CPUs; None where nothing limits it.

    A limit higher up holds for everything below, so the least one up to the root counts. Reads
    cgroup v1 (`cpu.cfs_quota_us`) and v2 (`cpu.max`), see the kernel's
    Documentation/admin-guide/cgroup-v2.rst and Documentation/scheduler/sched-bwc.rst.

    Args:
        cgroups: where control groups are mounted.
        membership: the file that names the process's groups, one line a hierarchy.
    """
    limits = (_limit(group) for group in _groups(cgroups, membership))
    return min((limit for limit in limits if limit is not None), default=None)


def _groups(cgroups: Path, membership: Path) -> Iterator[Path]:
    """The folders of the process's groups that may limit CPU time, and of those above them."""
    for line in (_read(membership) or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            mount = cgroups
        elif "cpu" in controllers.split(","):
            mount = cgroups / controllers
            if not mount.is_dir():
                mount = cgroups / "cpu"
        else:
            continue
        # Seen from a group namespace, a path outside it begins with `..`. And in a container the
        # path may be the node's, which does not exist below the container's own mount: then only
        # the mount itself says something.
        parts = [part for part in PurePosixPath(path).parts[1:] if part != ".."]
        for depth in range(len(parts), -1, -1):
            yield mount.joinpath(*parts[:depth])


def _limit(group: Path) -> float | None:
    """CPUs that one group grants; None where it has no limit or does not exist."""
    if (both := _read(group / "cpu.max")) is not None:
        limit, period = both.split()
        return None if limit == "max" else int(limit) / int(period)
    limit_us, period_us = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
    if limit_us is None or period_us is None or int(limit_us) < 0:
        return None
    return int(limit_us) / int(period_us)


def _read(path: Path) -> str | None:
    try:
        return path.read_text("ascii")
    except OSError:  # absent: another cgroup version, no limit at this level, or not Linux
        return None


def thread_count(quota_cpus: float | None, usable_cpus: int) -> int:
    """Threads for `usable_cpus` CPUs under `quota_cpus` CPUs of time: 1 at least.

    A fraction is rounded down: one thread too many gets all of them stopped, and what is left over
    serves the event loop.
    """
    return max(1, usable_cpus if quota_cpus is None else min(usable_cpus, int(quota_cpus)))


@functools.cache
def threads() -> int:
    """Threads that this process may keep busy, by its quota and its CPU affinity."""
    if sys.platform == "linux":
        usable = len(os.sched_getaffinity(0))
    else:
        usable = os.cpu_count() or 1
    return thread_count(quota(), usable)


telemetry.observed(
    names.CPU_THREADS, "{thread}", "Threads that each pool is sized to.", lambda: [(threads(), {})]
)


def size_thread_pools() -> int:
    """Sets the variables that numerical libraries size their pools by, where they are not set.

    Returns:
        The number of threads.

    Raises:
        RuntimeError: a library has been imported already and has its pool.
    """
    if late := [name for name in _READERS if name in sys.modules]:
        raise RuntimeError(
            f"{', '.join(late)} imported before the thread pools were sized; import them in the "
            "app's module, which is loaded after that"
        )
    count = threads()
    for variable in POOL_VARIABLES:
        os.environ.setdefault(variable, str(count))
    pools = {variable: os.environ[variable] for variable in POOL_VARIABLES}
    _log.info("sized the thread pools", extra={"threads": count, "quota": quota(), "pools": pools})
    return count
