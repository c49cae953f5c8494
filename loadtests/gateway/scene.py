"""A gateway before a classifier, or an echo of its contract, and a key that may call it."""

import json
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.grpc_load import Call
from lab.load import Request
from lab.mesh import surroundings
from lab.processes import ROOT, Process, free_ports, process, python

TEXT: Final = "A quiet film that stays with you, though its second half could be shorter."
BODY: Final = json.dumps({"texts": [TEXT]}).encode()
ECHO: Final = ROOT / "loadtests" / "dispatch" / "bench.py"


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
    service_port, service_admin = free_ports(2)
    target = f"127.0.0.1:{service_port}"
    environment = {
        "PYTHONPATH": str(ECHO.parent),
        "MESH_CLASSIFIER_GRPC_PORT": str(service_port),
        "MESH_CLASSIFIER_ADMIN_PORT": str(service_admin),
        "MESH_GATEWAY_CLASSIFIER_TARGET": target,
        **settings,
    }
    echo = (python("gateway"), ECHO, "--serve")
    as_it_is = (python("gateway"), "-m", "mesh_gateway")
    with (
        surroundings(**environment) as around,
        process(service or echo, around.settings) as serving,
        process(command or as_it_is, around.settings) as gateway,
    ):
        request = Request(
            f"http://127.0.0.1:{around.port()}/v1/classify",
            BODY,
            {"authorization": f"Bearer {around.key}", "content-type": "application/json"},
        )
        gateway.until(lambda: answers(request), "the gateway answers")
        grpc_port = around.port("MESH_GATEWAY_GRPC_PORT")
        yield Scene(gateway, serving, around.redis, request, grpc_port, target, around.key)


def answers(request: Request) -> bool:
    """Whether a request is answered."""
    asked = urllib.request.Request(request.url, request.body, dict(request.headers))  # noqa: S310  # of a scene, so http:
    try:
        urllib.request.urlopen(asked).close()  # noqa: S310  # the same
    except OSError:
        return False
    return True
