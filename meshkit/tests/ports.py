"""Free ports for the processes of tests."""

import contextlib
import os
import random
import socket
from typing import Final

# Of two test processes that run side by side, one must not take what the other is about to.
_PROCESS: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PROCESSES: Final = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_given: set[int] = set()


def free_port() -> int:
    """A port that nobody has, none of those that the kernel gives to whoever asks for any.

    No port is given twice: whoever has the first may not listen yet.
    """
    while True:
        port = random.randrange(10_000 + _PROCESS, 32_000, _PROCESSES)
        if port in _given:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            return port
