import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mesh_cli import lifecycle, redis_server
from mesh_cli.settings import DEFAULT_PORTS, REDIS_PORT, Site
from meshkit.errors import Unavailable
from meshkit.key_store import KeyStore


@contextmanager
def free_ports(count: int) -> Iterator[list[int]]:
    """Different ports that nothing listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        yield [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A mesh of its own: state folder and ports; what runs of it at the end is ended."""
    with free_ports(len(DEFAULT_PORTS)) as numbers:
        ports = {name: str(port) for name, port in zip(DEFAULT_PORTS, numbers, strict=True)}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
    mesh = Site.load(inherited | ports | {"MESH_STATE_PATH": str(tmp_path / "state")})
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
