from pathlib import Path

import psutil
import pytest

from mesh_cli import memory

GIB = 1024**3


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_control_groups_it_is_the_machine_s(tmp_path: Path) -> None:
    nowhere = tmp_path / "none"
    assert memory.total_bytes(nowhere, nowhere) == psutil.virtual_memory().total
    assert 0 < memory.free_bytes(nowhere, nowhere) <= psutil.virtual_memory().total


def test_the_least_limit_up_to_the_root_counts(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text("0::/outer/inner\n")
    write(tmp_path / "outer" / "memory.max", f"{GIB // 8}\n")
    write(tmp_path / "outer" / "inner" / "memory.max", "max\n")
    assert memory.total_bytes(tmp_path, membership) == GIB // 8


def test_a_limit_of_version_1_is_seen(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text("4:memory:/docker/abc\n3:cpu,cpuacct:/elsewhere\n")
    # In a container its own group is the mount, and the path one of the machine.
    write(tmp_path / "memory" / "memory.limit_in_bytes", f"{GIB // 4}\n")
    assert memory.total_bytes(tmp_path, membership) == GIB // 4


@pytest.mark.parametrize("row", ["inactive_file", "total_inactive_file"])
def test_files_that_are_kept_are_free(tmp_path: Path, row: str) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text("0::/\n")
    write(tmp_path / "memory.max", f"{100 * 1024**2}\n")
    write(tmp_path / "memory.current", f"{90 * 1024**2}\n")
    write(tmp_path / "memory.stat", f"anon 1\n{row} {30 * 1024**2}\n")
    assert memory.free_bytes(tmp_path, membership) == 40 * 1024**2


def test_a_group_that_is_over_its_limit_has_nothing_left(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text("0::/\n")
    write(tmp_path / "memory.max", "1000\n")
    write(tmp_path / "memory.current", "2000\n")
    assert memory.free_bytes(tmp_path, membership) == 0
