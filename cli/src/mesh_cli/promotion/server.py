"""A real server of one version, for as long as a promotion looks at it."""

import asyncio
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager, redirect_stdout
from pathlib import Path

from mesh_cli import environments, lifecycle
from mesh_cli.rooms import Environment, room
from mesh_cli.settings import Site
from meshkit.client import Client

DEPLOYMENT = "promotion"
_READY_TIMEOUT_S = 120.0
_POLL_S = 0.05
_MAX_MESSAGE_BYTES = 4 * 1024 * 1024


class NotServing(Exception):
    """The server does not come up; the message has its last words."""


@asynccontextmanager
async def serving(site: Site, model: str, version: str) -> AsyncIterator[Client]:
    """Starts the service of a model with exactly one version, on free ports, and ends it.

    Args:
        site: whose store and settings to use.
        model: name of the model; the service is called as its model.
        version: the version to serve, whatever the aliases say.

    Raises:
        NotServing: it ends by itself, or is not ready in time.
        Failure: its environment can't be installed.
    """
    environment = Environment(room(f"services/{model}"))
    with redirect_stdout(sys.stderr):  # where what is for programs does not go
        await asyncio.to_thread(environments.sync, environment)
    grpc_port, admin_port = _free_ports(2)
    prefix = f"MESH_{model.upper()}_"
    told = {
        f"{prefix}GRPC_PORT": str(grpc_port),
        f"{prefix}ADMIN_PORT": str(admin_port),
        f"{prefix}MODEL_VERSION": version,
        f"{prefix}DEPLOYMENT": DEPLOYMENT,
        f"{prefix}BIND_ADDRESS": "127.0.0.1",
    }
    with tempfile.TemporaryDirectory(prefix="mesh-promotion-") as folder:
        log = Path(folder) / "server.log"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: ASYNC220  # it only forks
                [str(environment.python), "-m", f"mesh_{model}"],
                env=_for_nobody_else(site.process_environment()) | told,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            target = f"127.0.0.1:{grpc_port}"
            async with Client(model, target, max_message_bytes=_MAX_MESSAGE_BYTES) as client:
                await _ready(client, process, log)
                yield client
        finally:
            process.terminate()
            await asyncio.to_thread(_end, process, site.stop_wait_s(model))


def _for_nobody_else(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without what a server on the loopback needs for others: TLS, probes."""
    return {
        name: value
        for name, value in environment.items()
        if "_INTERNAL_TLS_" not in name and not name.endswith("_HEALTH_PORT")
    }


async def _ready(client: Client, process: subprocess.Popen[bytes], log: Path) -> None:
    try:
        async with asyncio.timeout(_READY_TIMEOUT_S):
            # Two things are waited for, and the end of a process can only be asked about.
            while not client.serving:
                if process.poll() is not None:
                    raise NotServing(f"the server ends: {lifecycle.last_words(log)}")
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise NotServing(
            f"the server is not ready after {_READY_TIMEOUT_S:.0f} s: {lifecycle.last_words(log)}"
        ) from None


def _end(process: subprocess.Popen[bytes], patience_s: float) -> None:
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_ports(count: int) -> list[int]:
    """Ports of this machine that nothing listens on, each another one."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
