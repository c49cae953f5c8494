import asyncio
import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest

from mesh_cli import lifecycle, redis_server
from mesh_cli.settings import DEFAULT_PORTS, REDIS_PORT, Site
from meshkit.errors import Unavailable
from meshkit.key_store import KeyStore

# How long an example takes says nothing: machines are busy.
hypothesis.settings.register_profile("mesh", deadline=None)
hypothesis.settings.load_profile("mesh")


@contextmanager
def free_ports(count: int) -> Iterator[list[int]]:
    """Different ports that nothing listens on."""
    sockets: dict[int, socket.socket] = {}
    try:
        while len(sockets) < count:
            # None of those that the kernel gives to whoever asks for any.
            port, probe = random.randrange(10_000, 32_000), socket.socket()
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                probe.close()
            else:
                sockets[port] = probe
        yield list(sockets)
    finally:
        for each in sockets.values():
            each.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A mesh of its own: state folder and ports; what runs of it at the end is ended."""
    with free_ports(len(DEFAULT_PORTS)) as numbers:
        ports = {name: str(port) for name, port in zip(DEFAULT_PORTS, numbers, strict=True)}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
    own = {"MESH_STATE_PATH": str(tmp_path / "state"), "MESH_LLM": "off"}
    mesh = Site.load(inherited | ports | own)
    yield mesh
    lifecycle.stop(mesh)


def redis_url(site: Site) -> str:
    """Of the Redis that `served` starts."""
    return f"redis://127.0.0.1:{site.ports[REDIS_PORT]}/0"


@pytest.fixture
def served(site: Site) -> Site:
    """A mesh whose Redis runs, and nothing else of it."""
    record = lifecycle.start(site, [redis_server.program(site)], "mark")

    async def ping() -> None:
        async with KeyStore(redis_url(site)) as store:
            await store.ping()

    def missing() -> str | None:
        try:
            asyncio.run(ping())
        except Unavailable:
            return "redis"
        return None

    lifecycle.wait_ready(site, record, missing, timeout_s=30)
    return site
