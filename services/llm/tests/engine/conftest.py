"""The service with vLLM and the default model, started once: that takes minutes."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from engine_service import START_S, EngineService, Start
from mesh.llm.v1 import llm_pb2_grpc
from meshkit import aliases
from support import free_port

ROOM = Path(__file__).resolve().parents[2]
REPOSITORY = ROOM.parents[1]


@pytest.fixture(scope="session")
def models() -> Path:
    """The home of a store with the model in production.

    The one that MESH_MODELS_PATH names, else the repository's own.
    """
    home = Path(os.environ.get("MESH_MODELS_PATH") or REPOSITORY / ".mesh" / "models")
    if aliases.read(home, "llm") is None:
        pytest.skip(f"no model in {home}: `cli/mesh models train llm` makes one, in minutes")
    return home


@pytest.fixture(scope="session")
def start(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    started: list[EngineService] = []

    def begin() -> EngineService:
        ports = free_port(), free_port()
        log = tmp_path_factory.mktemp("llm") / "log"
        settings = {
            "MESH_MODELS_PATH": str(models),
            "MESH_LLM_GRPC_PORT": str(ports[0]),
            "MESH_LLM_ADMIN_PORT": str(ports[1]),
            "MESH_LLM_MAX_CONTEXT_TOKENS": "2048",
            "MESH_LLM_KV_CACHE_BYTES": str(512 * 1024**2),
            "MESH_LLM_MAX_RUNNING": "8",
            "MESH_LLM_COMPILE_MODEL": "false",
            # Two would wait for each other wherever something else runs beside.
            "MESH_LLM_INFERENCE_THREADS": "1",
            "MESH_LLM_ENGINE_STALL_S": "60",
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "mesh_llm"],
                env={**kept, **settings},
                stdout=output,
                stderr=output,
            )
        started.append(EngineService(process, *ports, log))
        return started[-1]

    yield begin
    for each in started:
        if each.process.poll() is None:
            each.process.terminate()
            each.process.wait(START_S)


@pytest.fixture(scope="session")
def service(start: Start) -> EngineService:
    service = start()
    # gRPC itself would look again only after two minutes.
    options = [("grpc.max_reconnect_backoff_ms", 1000)]
    with grpc.insecure_channel(service.target, options=options) as channel:
        checker: Any = health_pb2_grpc.HealthStub(channel)
        try:
            checker.Check(health_pb2.HealthCheckRequest(), timeout=START_S, wait_for_ready=True)
        except grpc.RpcError as error:
            pytest.fail(f"{error}\n{service.log.read_text()[-5000:]}")
    return service


@pytest.fixture
async def stub(service: EngineService) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(service.target) as channel:
        yield llm_pb2_grpc.LlmServiceStub(channel)
