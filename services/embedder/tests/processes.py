"""The embedder as it is started: a process of its own."""

import signal
import subprocess
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

START_S = 120.0
CALL_S = 60.0


@dataclass
class Process:
    """An embedder of its own."""

    process: "subprocess.Popen[bytes]"
    grpc_port: int
    admin_port: int
    log: Path

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=CALL_S)

    def metrics(self) -> str:
        url = f"http://127.0.0.1:{self.admin_port}/metrics"
        with urllib.request.urlopen(url, timeout=CALL_S) as response:
            page: bytes = response.read()
        return page.decode()


Start = Callable[..., Process]
