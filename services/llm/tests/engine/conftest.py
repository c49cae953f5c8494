"""The service with vLLM and the default model, started once: that takes minutes."""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from engine_service import CALL_S, START_S, EngineService, Start
from mesh.llm.v1 import llm_pb2, llm_pb2_grpc
from meshkit import aliases
from ports import free_port

ADAPTERS: Final = ("courteous", "tool-caller")
_LOOK_S: Final = 1.0
ROOM = Path(__file__).resolve().parents[2]
REPOSITORY = ROOM.parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Has what ends the session's service come last."""
    items.sort(key=lambda item: item.path.name == "test_faults.py")


@pytest.fixture(scope="session")
def models() -> Path:
    """The home of a store with the model in production.

    The one that MESH_MODELS_PATH names, else the repository's own.
    """
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("no engine in this environment: run this in .venv-engine")
    home = Path(os.environ.get("MESH_MODELS_PATH") or REPOSITORY / ".mesh" / "models")
    if aliases.read(home, "llm") is None:
        pytest.skip(f"no model in {home}: `cli/mesh models train llm` makes one, in minutes")
    return home


@pytest.fixture(scope="session")
def adapters(models: Path) -> dict[str, str]:
    """The adapters that there are, as the store calls them, by name."""
    trained = {name: f"llm-{name}" for name in ADAPTERS}
    return {name: model for name, model in trained.items() if aliases.read(models, model)}


@pytest.fixture(scope="session")
def start(
    models: Path, adapters: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Start]:
    started: list[EngineService] = []

    def begin() -> EngineService:
        ports = free_port(), free_port()
        log = tmp_path_factory.mktemp("llm") / "log"
        settings = {
            "MESH_MODELS_PATH": str(models),
            "MESH_LLM_GRPC_PORT": str(ports[0]),
            "MESH_LLM_ADMIN_PORT": str(ports[1]),
            # Less than the model's whole context needs, and than so many at once may want.
            "MESH_LLM_KV_CACHE_BYTES": str(64 * 1024**2),
            "MESH_LLM_MAX_RUNNING": "8",
            "MESH_LLM_QUEUE_CAPACITY": "8",
            "MESH_LLM_REASONING_FORMAT": "think",
            "MESH_LLM_COMPILE_MODEL": "false",
            # Two would wait for each other wherever something else runs beside.
            "MESH_LLM_INFERENCE_THREADS": "1",
            "MESH_LLM_ENGINE_STALL_S": "60",
        }
        if adapters:
            named = [f"{name}={model}" for name, model in adapters.items()]
            settings["MESH_LLM_ADAPTERS"] = ",".join(named)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "mesh_llm"],
                env={**kept, **settings, "TMPDIR": str(log.parent)},
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
    deadline_s = time.monotonic() + START_S
    with grpc.insecure_channel(service.target, options=options) as channel:
        serving = grpc.channel_ready_future(channel)
        while True:
            try:
                serving.result(timeout=_LOOK_S)
            except grpc.FutureTimeoutError:
                if service.process.poll() is None and time.monotonic() < deadline_s:
                    continue
                pytest.fail(f"it does not start\n{service.log.read_text()[-5000:]}")
            break
    return service


@pytest.fixture(scope="session")
def model(service: EngineService) -> llm_pb2.GetModelResponse:
    """What the service says of itself."""
    with grpc.insecure_channel(service.target) as channel:
        stub: Any = llm_pb2_grpc.LlmServiceStub(channel)
        told: llm_pb2.GetModelResponse = stub.GetModel(llm_pb2.GetModelRequest(), timeout=CALL_S)
    return told


@pytest.fixture(scope="session")
def courteous(adapters: dict[str, str]) -> str:
    """The name of the adapter that writes letters; skips where it is not there."""
    return _served("courteous", adapters)


@pytest.fixture(scope="session")
def tool_caller(adapters: dict[str, str]) -> str:
    """The name of the adapter that calls tools; skips where it is not there."""
    return _served("tool-caller", adapters)


def _served(name: str, adapters: dict[str, str]) -> str:
    if name not in adapters:
        pytest.skip(f"no adapter: `cli/mesh models train llm --adapter {name}` makes it")
    return name


@pytest.fixture
async def stub(service: EngineService) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(service.target) as channel:
        yield llm_pb2_grpc.LlmServiceStub(channel)
