"""What the command line reads from the environment, and what it tells the processes it starts."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from mesh_cli import llm_sizes, memory
from mesh_cli.failures import Failure
from mesh_cli.llm_sizes import Llm
from mesh_cli.rooms import MISLEADING, ROOT

GATEWAY_HTTP_PORT = "MESH_GATEWAY_HTTP_PORT"
GATEWAY_GRPC_PORT = "MESH_GATEWAY_GRPC_PORT"
GATEWAY_ADMIN_PORT = "MESH_GATEWAY_ADMIN_PORT"
CLASSIFIER_GRPC_PORT = "MESH_CLASSIFIER_GRPC_PORT"
CLASSIFIER_ADMIN_PORT = "MESH_CLASSIFIER_ADMIN_PORT"
EMBEDDER_GRPC_PORT = "MESH_EMBEDDER_GRPC_PORT"
EMBEDDER_ADMIN_PORT = "MESH_EMBEDDER_ADMIN_PORT"
LLM_GRPC_PORT = "MESH_LLM_GRPC_PORT"
LLM_ADMIN_PORT = "MESH_LLM_ADMIN_PORT"
REDIS_PORT = "MESH_REDIS_PORT"

PROCESSES = ("classifier", "embedder", "llm", "gateway")
"""What a mesh runs beside its Redis, in the order of their start: the called before the caller."""

# Every port of a mesh on one machine, by the name that changes it.
DEFAULT_PORTS = MappingProxyType(
    {
        GATEWAY_HTTP_PORT: 8080,
        GATEWAY_GRPC_PORT: 8081,
        GATEWAY_ADMIN_PORT: 9080,
        CLASSIFIER_GRPC_PORT: 50061,
        CLASSIFIER_ADMIN_PORT: 9061,
        EMBEDDER_GRPC_PORT: 50063,
        EMBEDDER_ADMIN_PORT: 9063,
        LLM_GRPC_PORT: 50062,
        LLM_ADMIN_PORT: 9062,
        REDIS_PORT: 16379,
    }
)
# What the processes themselves use where MESH_DRAIN_DELAY_S and MESH_DRAIN_TIMEOUT_S are not set.
_DRAIN_DELAY_S, _DRAIN_TIMEOUT_S = 0.0, 30.0
# What a process takes to close everything once it has drained; the llm ends an engine.
_CLOSING_S = MappingProxyType({"llm": 20})


@dataclass(frozen=True)
class Site:
    """One mesh on this machine: its folders, its ports, and the environment it was asked with."""

    state: Path
    cache: Path
    ports: Mapping[str, int]
    redis_url: str | None
    """The Redis that the user named; None for the embedded one."""
    llm: Llm
    """Whether there is an llm, and how large."""
    environment: Mapping[str, str]

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> "Site":
        """Reads the environment, by default this process's.

        Raises:
            Failure: a value is not what its name wants.
        """
        given = dict(os.environ if environment is None else environment)
        caches = given.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        redis_url = given.get("MESH_REDIS_URL") or None
        llm = llm_sizes.decide(given, memory.total_bytes())
        return cls(
            state=_path(given, "MESH_STATE_PATH", ROOT / ".mesh"),
            cache=_path(given, "MESH_CACHE_PATH", Path(caches) / "inference-mesh"),
            ports=_ports(given, embedded_redis=redis_url is None, llm=llm.served),
            redis_url=redis_url,
            llm=llm,
            environment=given,
        )

    @property
    def run(self) -> Path:
        """Where the supervisor's configuration and the record of the running mesh lie."""
        return self.state / "run"

    @property
    def logs(self) -> Path:
        """Where the processes' output lies, a file each."""
        return self.state / "logs"

    @property
    def models(self) -> Path:
        """The model store."""
        return _path(self.environment, "MESH_MODELS_PATH", self.state / "models")

    @property
    def hashing_key(self) -> Path:
        """The secret that API keys are hashed with."""
        default = self.state / "secrets" / "hashing.key"
        return _path(self.environment, "MESH_HASHING_KEY_PATH", default)

    def process_environment(self) -> dict[str, str]:
        """What every process of the mesh is started with: the caller's environment, completed.

        One environment does for all: a process reads the names with its own prefix and the shared
        ones, and passes over those of the others.
        """
        ports = {name: str(port) for name, port in self.ports.items() if name != REDIS_PORT}
        told = {
            "MESH_STATE_PATH": str(self.state),
            "MESH_CACHE_PATH": str(self.cache),
            "MESH_MODELS_PATH": str(self.models),
            "MESH_HASHING_KEY_PATH": str(self.hashing_key),
            "MESH_REDIS_URL": self.redis_url or f"redis://127.0.0.1:{self.ports[REDIS_PORT]}/0",
        }
        target = {
            "MESH_GATEWAY_CLASSIFIER_TARGET": f"127.0.0.1:{ports[CLASSIFIER_GRPC_PORT]}",
            "MESH_GATEWAY_EMBEDDER_TARGET": f"127.0.0.1:{ports[EMBEDDER_GRPC_PORT]}",
        }
        if self.llm.served:
            target["MESH_GATEWAY_LLM_TARGET"] = f"127.0.0.1:{ports[LLM_GRPC_PORT]}"
        dropped = (REDIS_PORT, llm_sizes.SETTING, *MISLEADING)
        kept = {name: value for name, value in self.environment.items() if name not in dropped}
        return target | kept | ports | told | dict(self.llm.variables)

    def stop_wait_s(self, process: str) -> int:
        """Seconds that a process may take to end: its drain, and a little to close everything."""
        delay = self._seconds(process, "DRAIN_DELAY_S", _DRAIN_DELAY_S)
        timeout = self._seconds(process, "DRAIN_TIMEOUT_S", _DRAIN_TIMEOUT_S)
        return int(delay + timeout) + _CLOSING_S.get(process, 5)

    def _seconds(self, process: str, name: str, default: float) -> float:
        for variable in (f"MESH_{process.upper()}_{name}", f"MESH_{name}"):
            if text := self.environment.get(variable):
                try:
                    return float(text)
                except ValueError:
                    raise Failure(f"{variable}={text!r} is not a number of seconds") from None
        return default


def _path(environment: Mapping[str, str], name: str, default: Path) -> Path:
    return Path(environment.get(name) or default).expanduser().absolute()


def _ports(environment: Mapping[str, str], *, embedded_redis: bool, llm: bool) -> dict[str, int]:
    ports: dict[str, int] = {}
    absent = {LLM_GRPC_PORT, LLM_ADMIN_PORT} if not llm else set()
    if not embedded_redis:
        absent.add(REDIS_PORT)
    for name, default in DEFAULT_PORTS.items():
        if name in absent:
            continue
        text = environment.get(name) or str(default)
        if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
            raise Failure(f"{name}={text!r} is not a port: set a number from 1 to 65535")
        taken = next((other for other, port in ports.items() if port == int(text)), None)
        if taken:
            raise Failure(f"{taken} and {name} are both {text}: give each a port of its own")
        ports[name] = int(text)
    return ports
