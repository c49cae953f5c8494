"""What serves a model: the service, the mesh, vLLM's own server, transformers behind a route."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.mesh import surroundings
from lab.processes import ROOT, Served, Together, free_ports, listens, process, python

HERE: Final = Path(__file__).parent
ROOM: Final = ROOT / "services" / "llm"
ENGINE: Final = ROOM / ".venv-engine" / "bin" / "python"
STORE: Final = ROOT / ".mesh" / "models"
CONTEXT_TOKENS: Final = 4096
MOST_RUNNING: Final = 32
_KV_CACHE_BYTES: Final = 1 << 30
_START_S: Final = 1800.0
# One for each core, as the service has it.
_THREADS: Final = str(len(os.sched_getaffinity(0)))
# What the service sets for its own engine.
_ENVIRONMENT: Final = {
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": _THREADS,
    "HF_HUB_OFFLINE": "1",
}


@dataclass(frozen=True)
class Contender:
    """One that answers.

    Attributes:
        kind: how it is asked; see `asking.py`.
        port: where.
        process: what runs.
        key: to be shown to it.
    """

    kind: str
    port: int
    process: Served
    key: str | None = None


@contextmanager
def service(**more: str) -> Iterator[Contender]:
    """The LLM service.

    Args:
        more: settings.
    """
    port, admin_port = free_ports(2)
    settings = {
        "MESH_MODELS_PATH": str(STORE),
        "MESH_LLM_GRPC_PORT": str(port),
        "MESH_LLM_ADMIN_PORT": str(admin_port),
        "MESH_LLM_MAX_CONTEXT_TOKENS": str(CONTEXT_TOKENS),
        "MESH_LLM_MAX_RUNNING": str(MOST_RUNNING),
        "MESH_LLM_KV_CACHE_BYTES": str(_KV_CACHE_BYTES),
        "MESH_LLM_INFERENCE_THREADS": _THREADS,
        **more,
    }
    with _started("grpc", port, [_engine(), "-m", "mesh_llm"], settings) as contender:
        yield contender


@contextmanager
def mesh(behind: Contender) -> Iterator[Contender]:
    """A gateway before the service, with keys and limits of requests and tokens in Redis.

    Args:
        behind: the service.
    """
    settings = {
        "MESH_GATEWAY_LLM_TARGET": f"127.0.0.1:{behind.port}",
        "MESH_GATEWAY_KEY_TOKEN_RATE": "100000000/s",
    }
    with (
        surroundings(**settings) as around,
        process([python("gateway"), "-m", "mesh_gateway"], around.settings) as gateway,
    ):
        gateway.until(lambda: listens(around.port()), "the gateway answers")
        serving = Together(behind.process, gateway, around.redis)
        yield Contender("openai", around.port(), serving, around.key)


@contextmanager
def vllm_server() -> Iterator[Contender]:
    """VLLM's own server, with the arguments that the service gives its engine."""
    (port,) = free_ports(1)
    command: list[str | Path] = [
        *(_engine(), "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", model(), "--served-model-name", "llm"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--max-model-len", str(CONTEXT_TOKENS), "--max-num-seqs", str(MOST_RUNNING)),
        *("--kv-cache-memory-bytes", str(_KV_CACHE_BYTES), "--scheduling-policy", "priority"),
        "--enable-prefix-caching",
        *("--disable-uvicorn-access-log", "--no-enable-log-requests"),
    ]
    with _started("openai", port, command, _ENVIRONMENT) as contender:
        yield contender


@contextmanager
def transformers_route() -> Iterator[Contender]:
    """`generate` of transformers behind a route of FastAPI."""
    (port,) = free_ports(1)
    command: list[str | Path] = [_engine(), HERE / "transformers_route.py", model(), str(port)]
    with _started("whole", port, command, {"OMP_NUM_THREADS": _THREADS}) as contender:
        yield contender


def model() -> Path:
    """The folder of the model that is in production."""
    moves = STORE / "aliases" / "llm" / "production"
    if not moves.exists():
        raise SystemExit("there is no model to serve; run `cli/mesh models train llm`")
    *_, newest = sorted(moves.iterdir())
    return STORE / "models" / "llm" / str(json.loads(newest.read_text())["version"])


def _engine() -> Path:
    if not ENGINE.exists():
        raise SystemExit("there is no engine; run `cli/mesh env services/llm`")
    return ENGINE


@contextmanager
def _started(
    kind: str, port: int, command: list[str | Path], environment: Mapping[str, str]
) -> Iterator[Contender]:
    with process(command, environment) as running:
        running.until(lambda: listens(port), f"{kind} answers", _START_S)
        yield Contender(kind, port, running)
