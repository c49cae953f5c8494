"""What a gateway needs beside the services behind it: a Redis, ports, a key that may call it."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from lab.processes import Process, free_ports, listens, process, python, redis_server

NEVER_REACHED: Final = "1000000/s"


@dataclass(frozen=True)
class Surroundings:
    """What is there.

    Attributes:
        settings: of the gateway, as variables of its environment.
        redis: the process of Redis.
        key: the API key.
    """

    settings: Mapping[str, str]
    redis: Process
    key: str

    def port(self, name: str = "MESH_GATEWAY_HTTP_PORT") -> int:
        """One of the ports."""
        return int(self.settings[name])


@contextmanager
def surroundings(**settings: str) -> Iterator[Surroundings]:
    """Runs Redis inside. Limits are on and never reached; services that are not named are nowhere.

    Args:
        settings: more of the gateway, or others.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        redis_port, port, grpc_port, admin_port, nobody = free_ports(5)
        environment = {
            **{
                f"MESH_GATEWAY_{name}_TARGET": f"127.0.0.1:{nobody}"
                for name in ("CLASSIFIER", "EMBEDDER", "LLM")
            },
            "MESH_GATEWAY_HTTP_PORT": str(port),
            "MESH_GATEWAY_GRPC_PORT": str(grpc_port),
            "MESH_GATEWAY_ADMIN_PORT": str(admin_port),
            "MESH_GATEWAY_KEY_RATE": NEVER_REACHED,
            "MESH_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
            "MESH_HASHING_KEY_PATH": str(folder / "hashing.key"),
            "MESH_STATE_PATH": str(folder),
            **settings,
        }
        redis = stack.enter_context(
            process([redis_server(), "--port", str(redis_port), "--save", ""])
        )
        redis.until(lambda: listens(redis_port), "Redis answers")
        yield Surroundings(environment, redis, _made_key(environment))


def _made_key(environment: Mapping[str, str]) -> str:
    ran = subprocess.run(
        [python("cli"), "-m", "mesh_cli", "keys", "create", "load"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.strip()
