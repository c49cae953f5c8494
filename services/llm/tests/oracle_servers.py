"""The service and vLLM's own server, each alone, with the same model and the same engine."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from engine_service import START_S
from mesh.llm.v1 import llm_pb2_grpc
from oracle_table import CONTEXT_TOKENS
from ports import free_port

_KV_CACHE_BYTES: Final = 512 * 1024**2
_MOST_RUNNING: Final = 8
_POLL_S: Final = 0.5
# What the service sets for its own engine (`vllm_launch`), with one thread.
_ENVIRONMENT: Final = {
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}


@asynccontextmanager
async def service(models: Path, log: Path) -> AsyncIterator[Any]:
    """The service; a stub of it.

    Args:
        models: home folder of the store with the model.
        log: where it writes.
    """
    port, admin_port = free_port(), free_port()
    settings = {
        "MESH_MODELS_PATH": str(models),
        "MESH_LLM_GRPC_PORT": str(port),
        "MESH_LLM_ADMIN_PORT": str(admin_port),
        "MESH_LLM_MAX_CONTEXT_TOKENS": str(CONTEXT_TOKENS),
        "MESH_LLM_KV_CACHE_BYTES": str(_KV_CACHE_BYTES),
        "MESH_LLM_MAX_RUNNING": str(_MOST_RUNNING),
        "MESH_LLM_INFERENCE_THREADS": "1",
        "MESH_LLM_COMPILE_MODEL": "false",
        "MESH_LLM_PREFIX_CACHING": "false",
        "MESH_LLM_TOOL_FORMAT": "hermes",
    }
    with _running([sys.executable, "-m", "mesh_llm"], settings, log) as process:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)

            async def answers() -> bool:
                try:
                    await health.Check(health_pb2.HealthCheckRequest(), timeout=_POLL_S)
                except grpc.aio.AioRpcError:
                    return False
                return True

            await _until(answers, process, log)
            yield llm_pb2_grpc.LlmServiceStub(channel)


@asynccontextmanager
async def server(folder: Path, log: Path) -> AsyncIterator[httpx.AsyncClient]:
    """vLLM's own server; a client of it.

    Args:
        folder: of the model.
        log: where it writes.
    """
    port = free_port()
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(folder), "--served-model-name", "llm"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--max-model-len", str(CONTEXT_TOKENS), "--max-num-seqs", str(_MOST_RUNNING)),
        *("--kv-cache-memory-bytes", str(_KV_CACHE_BYTES), "--scheduling-policy", "priority"),
        *("--enforce-eager", "--no-enable-prefix-caching"),
        # The service finds calls in this format, and holds their arguments to their schemas.
        *("--enable-auto-tool-choice", "--tool-call-parser", "hermes"),
        *("--tool-strict-level", "parameter"),
    ]
    with _running(command, _ENVIRONMENT, log) as process:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

            async def answers() -> bool:
                try:
                    response = await client.get("/health", timeout=_POLL_S)
                except httpx.HTTPError:
                    return False
                return response.status_code == 200

            await _until(answers, process, log)
            yield client


@contextmanager
def _running(
    command: Sequence[str], variables: Mapping[str, str], log: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
    with log.open("wb") as output:
        process = subprocess.Popen(command, env={**kept, **variables}, stdout=output, stderr=output)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(START_S)


async def _until(
    answers: Callable[[], Awaitable[bool]], process: "subprocess.Popen[bytes]", log: Path
) -> None:
    async with asyncio.timeout(START_S):
        while not await answers():
            if process.poll() is not None:
                pytest.fail(await asyncio.to_thread(_end_of, log))
            await asyncio.sleep(_POLL_S)


def _end_of(log: Path) -> str:
    return log.read_text()[-5000:]
