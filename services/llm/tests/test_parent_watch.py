"""No process of an engine survives the one that started it."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from support import PATIENCE_S

ORPHAN = Path(__file__).with_name("orphan.py")


@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_children_end_with_their_parent_whatever_ends_it(ended_by: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, ORPHAN], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(children) == 2
        assert all(child.is_running() for child in children)
        parent.send_signal(ended_by)
        parent.wait(PATIENCE_S)
    _, alive = psutil.wait_procs(children, timeout=PATIENCE_S)
    assert alive == []
