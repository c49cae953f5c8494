"""A gateway before a classifier, or an echo of its contract, and a key that may call it."""

import json
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from lab.grpc_load import Call
from lab.load import Request
from lab.processes import ROOT, Process, free_ports, listens, process, python, redis_server

TEXT: Final = "A quiet film that stays with you, though its second half could be shorter."
BODY: Final = json.dumps({"texts": [TEXT]}).encode()
ECHO: Final = ROOT / "loadtests" / "dispatch" / "bench.py"
_NEVER_REACHED: Final = "1000000/s"


@dataclass(frozen=True)
class Scene:
    """What runs.

    Attributes:
        gateway: the process of the gateway.
        service: the process of the service.
        redis: the process of Redis.
        request: a request to the gateway's HTTP port.
        grpc_port: of its gRPC door.
        target: where the service is.
        key: the API key.
    """

    gateway: Process
    service: Process
    redis: Process
    request: Request
    grpc_port: int
    target: str
    key: str

    def call(self, method: str) -> Call:
        """A call of a method of the classifier at the gRPC door."""
        metadata = {"authorization": f"Bearer {self.key}"}
        return Call(f"127.0.0.1:{self.grpc_port}", method, {"texts": [TEXT]}, metadata)


@contextmanager
def scene(
    *command: str | Path, service: Sequence[str | Path] = (), **settings: str
) -> Iterator[Scene]:
    """Runs Redis, the service and the gateway inside.

    Args:
        command: the gateway; by default as it is.
        service: by default the echo.
        settings: more of their environment.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        redis_port, service_port, service_admin, port, grpc_port, admin_port = free_ports(6)
        environment = {
            "PYTHONPATH": str(ECHO.parent),
            "MESH_CLASSIFIER_GRPC_PORT": str(service_port),
            "MESH_CLASSIFIER_ADMIN_PORT": str(service_admin),
            "MESH_GATEWAY_CLASSIFIER_TARGET": f"127.0.0.1:{service_port}",
            "MESH_GATEWAY_HTTP_PORT": str(port),
            "MESH_GATEWAY_GRPC_PORT": str(grpc_port),
            "MESH_GATEWAY_ADMIN_PORT": str(admin_port),
            "MESH_GATEWAY_KEY_RATE": _NEVER_REACHED,
            "MESH_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
            "MESH_HASHING_KEY_PATH": str(folder / "hashing.key"),
            "MESH_STATE_PATH": str(folder),
            **settings,
        }
        redis = stack.enter_context(
            process([redis_server(), "--port", str(redis_port), "--save", ""])
        )
        redis.until(lambda: listens(redis_port), "Redis answers")
        key = make_key(environment)
        echo = (python("gateway"), ECHO, "--serve")
        serving = stack.enter_context(process(service or echo, environment))
        gateway = stack.enter_context(
            process(command or (python("gateway"), "-m", "mesh_gateway"), environment)
        )
        request = Request(
            f"http://127.0.0.1:{port}/v1/classify",
            BODY,
            {"authorization": f"Bearer {key}", "content-type": "application/json"},
        )
        gateway.until(lambda: answers(request), "the gateway answers")
        target = f"127.0.0.1:{service_port}"
        yield Scene(gateway, serving, redis, request, grpc_port, target, key)


def answers(request: Request) -> bool:
    """Whether a request is answered."""
    asked = urllib.request.Request(request.url, request.body, dict(request.headers))  # noqa: S310  # of a scene, so http:
    try:
        urllib.request.urlopen(asked).close()  # noqa: S310  # the same
    except OSError:
        return False
    return True


def make_key(environment: Mapping[str, str]) -> str:
    """A key of a mesh, which its environment names."""
    ran = subprocess.run(
        [python("cli"), "-m", "mesh_cli", "keys", "create", "load"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.strip()
