"""Thread counts from control-group trees shaped as real systems have them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from meshkit import cpu


class Tree:
    """A control-group mount and a membership file below a temporary folder."""

    def __init__(self, root: Path, membership: str) -> None:
        self.mount = root / "cgroup"
        self.mount.mkdir()
        self.membership = root / "self_cgroup"
        self.membership.write_text(membership)

    def v2(self, group: str, cpu_max: str) -> None:
        folder = self.mount / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpu.max").write_text(f"{cpu_max}\n")

    def v1(self, group: str, quota_us: int, period_us: int = 100_000) -> None:
        folder = self.mount / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpu.cfs_quota_us").write_text(f"{quota_us}\n")
        (folder / "cpu.cfs_period_us").write_text(f"{period_us}\n")

    @property
    def quota(self) -> float | None:
        return cpu.quota(self.mount, self.membership)


def test_v2_in_a_container_of_its_own_namespace(tmp_path: Path) -> None:
    tree = Tree(tmp_path, "0::/\n")
    tree.v2("", "150000 100000")
    assert tree.quota == 1.5


def test_v2_without_a_limit(tmp_path: Path) -> None:
    tree = Tree(tmp_path, "0::/user.slice/user-0.slice/session-1.scope\n")
    tree.v2("user.slice", "max 100000")
    tree.v2("user.slice/user-0.slice", "max 100000")
    assert tree.quota is None


def test_v2_takes_the_least_limit_on_the_way_up(tmp_path: Path) -> None:
    pod = "kubepods.slice/kubepods-burstable.slice/kubepods-pod1.slice"
    tree = Tree(tmp_path, f"0::/{pod}/cri-containerd-abc.scope\n")
    tree.v2(f"{pod}/cri-containerd-abc.scope", "max 100000")
    tree.v2(pod, "200000 100000")
    tree.v2("kubepods.slice/kubepods-burstable.slice", "max 100000")
    tree.v2("kubepods.slice", "750000 100000")
    assert tree.quota == 2.0


def test_v2_with_another_period(tmp_path: Path) -> None:
    tree = Tree(tmp_path, "0::/\n")
    tree.v2("", "10000 20000")
    assert tree.quota == 0.5


def test_v2_outside_its_namespace_stays_below_the_mount(tmp_path: Path) -> None:
    tree = Tree(tmp_path, "0::/../../other\n")
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    tree.v2("other", "300000 100000")
    assert tree.quota == 3.0


V1 = "12:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n"


def test_v1_on_the_node(tmp_path: Path) -> None:
    tree = Tree(tmp_path, V1)
    tree.v1("cpu,cpuacct", -1)
    tree.v1("cpu,cpuacct/docker", -1)
    tree.v1("cpu,cpuacct/docker/abc", 250_000)
    assert tree.quota == 2.5


def test_v1_in_a_container_that_sees_the_path_of_the_node(tmp_path: Path) -> None:
    tree = Tree(tmp_path, V1)
    tree.v1("cpu,cpuacct", 50_000)
    assert tree.quota == 0.5


def test_v1_mounted_by_the_name_of_one_controller(tmp_path: Path) -> None:
    tree = Tree(tmp_path, "3:cpuset:/\n1:cpu:/\n0::/\n")
    tree.v1("cpu", 400_000)
    assert tree.quota == 4.0


def test_v1_without_a_limit(tmp_path: Path) -> None:
    tree = Tree(tmp_path, V1)
    tree.v1("cpu,cpuacct/docker/abc", -1)
    assert tree.quota is None


def test_a_system_without_control_groups(tmp_path: Path) -> None:
    assert cpu.quota(tmp_path / "none", tmp_path / "neither") is None


@pytest.mark.parametrize(
    ("quota", "cpus", "count"),
    [(None, 8, 8), (0.5, 8, 1), (1.5, 8, 1), (3.9, 8, 3), (4.0, 2, 2), (64.0, 8, 8)],
)
def test_a_thread_for_each_whole_cpu(quota: float | None, cpus: int, count: int) -> None:
    assert cpu.thread_count(quota, cpus) == count


def run_python(code: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A fresh process, since what matters happens before imports."""
    inherited = {k: v for k, v in os.environ.items() if k not in cpu.POOL_VARIABLES}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


SIZED = "import os; from meshkit import cpu; count = cpu.size_thread_pools(); "


def test_every_pool_gets_the_count() -> None:
    code = SIZED + "print({os.environ[name] == str(count) for name in cpu.POOL_VARIABLES})"
    assert run_python(code).stdout == "{True}\n"


def test_the_affinity_of_the_process_counts() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); " + SIZED
    assert run_python(code + "print(count)").stdout == "1\n"


def test_the_operator_has_the_last_word() -> None:
    code = SIZED + "print(os.environ['OMP_NUM_THREADS'])"
    assert run_python(code, OMP_NUM_THREADS="7").stdout == "7\n"


def test_numpy_has_the_pool_it_was_told() -> None:
    code = SIZED + "import numpy; print(len(os.listdir('/proc/self/task')) - count)"
    # Every thread but the first is a helper of the pool.
    assert run_python(code, OPENBLAS_NUM_THREADS="1").stdout.strip() in {"0", "-1"}


def test_a_library_that_came_too_early_is_named() -> None:
    ran = run_python("import numpy; " + SIZED)
    assert ran.returncode == 1
    assert "RuntimeError: numpy imported before the thread pools were sized" in ran.stderr


def test_the_process_itself_has_a_count() -> None:
    assert 1 <= cpu.threads() <= (os.cpu_count() or 1)
