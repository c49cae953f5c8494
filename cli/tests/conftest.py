import asyncio
import os
import random
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest
from redis import Redis

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


def loaded(ports: Mapping[str, str], state: Path) -> Site:
    """A mesh with these ports and this state folder, and nothing of the caller's own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
    return Site.load({**inherited, **ports, "MESH_STATE_PATH": str(state), "MESH_LLM": "off"})


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A mesh of its own: state folder and ports; what runs of it at the end is ended."""
    mesh = loaded(own_ports(), tmp_path / "state")
    yield mesh
    lifecycle.stop(mesh)


def own_ports() -> dict[str, str]:
    """A port for each that a mesh listens on; nothing listens there."""
    with free_ports(len(DEFAULT_PORTS)) as numbers:
        return {name: str(port) for name, port in zip(DEFAULT_PORTS, numbers, strict=True)}


def redis_url(site: Site) -> str:
    """Of the Redis that `served` has."""
    return f"redis://127.0.0.1:{site.ports[REDIS_PORT]}/0"


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A mesh whose Redis runs, and nothing else of it; it takes seconds to come and to go."""
    mesh = loaded(own_ports(), tmp_path_factory.mktemp("running") / "state")
    record = lifecycle.start(mesh, [redis_server.program(mesh)], "mark")

    async def ping() -> None:
        async with KeyStore(redis_url(mesh)) as store:
            await store.ping()

    def missing() -> str | None:
        try:
            asyncio.run(ping())
        except Unavailable:
            return "redis"
        return None

    lifecycle.wait_ready(mesh, record, missing, timeout_s=30)
    yield mesh
    lifecycle.stop(mesh)


@pytest.fixture
def served(running: Site, tmp_path: Path) -> Site:
    """A mesh with a state folder of its own, whose Redis runs and is empty."""
    with Redis.from_url(redis_url(running)) as redis:
        redis.flushall()
    ports = {name: str(port) for name, port in running.ports.items()}
    return loaded(ports, tmp_path / "state")
