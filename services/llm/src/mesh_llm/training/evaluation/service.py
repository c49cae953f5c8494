"""The service, as a process of its own, with a model from a folder."""

import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mesh_pipelines.errors import PipelineError

_START_S: Final = 1800.0
_END_S: Final = 120.0
_POLL_S: Final = 0.5
CONTEXT_TOKENS: Final = 2048


class NotServed(PipelineError):
    """The engine does not serve this model; the message is the end of its log."""


@contextmanager
def serving(
    engine_python: Path, folder: Path, most_running: int, *, compiled: bool
) -> Iterator[str]:
    """Serves a model inside; where.

    Args:
        engine_python: of the environment with the engine.
        folder: of the model.
        most_running: requests at a time.
        compiled: whether to compile the model.

    Raises:
        NotServed: it ended before it served, or took too long.
    """
    port, admin_port = _free_port(), _free_port()
    settings = {
        "MESH_LLM_MODEL_URI": str(folder.absolute()),
        "MESH_LLM_GRPC_PORT": str(port),
        "MESH_LLM_ADMIN_PORT": str(admin_port),
        "MESH_LLM_MAX_CONTEXT_TOKENS": str(CONTEXT_TOKENS),
        "MESH_LLM_KV_CACHE_BYTES": str(1 << 30),
        "MESH_LLM_MAX_RUNNING": str(most_running),
        "MESH_LLM_COMPILE_MODEL": str(compiled),
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
    target = f"127.0.0.1:{port}"
    with NamedTemporaryFile(prefix="mesh-llm-", suffix=".log") as log:
        process = subprocess.Popen(
            [engine_python, "-m", "mesh_llm"],
            env={**kept, **settings},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait(target, process, Path(log.name))
            yield target
        finally:
            process.terminate()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(target: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    give_up_at_s = time.monotonic() + _START_S
    while not _is_serving(target):
        if process.poll() is not None or time.monotonic() > give_up_at_s:
            raise NotServed(_refusal(log.read_text(encoding="utf-8", errors="replace")))
        time.sleep(_POLL_S)


def _is_serving(target: str) -> bool:
    # A channel that was refused once would wait before it tries again.
    with grpc.insecure_channel(target) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=_POLL_S)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _refusal(log: str) -> str:
    """The line of a log that says what went wrong."""
    telling = [line for line in log.splitlines() if "Error" in line or "error" in line]
    return (telling or log.splitlines() or ["it wrote nothing"])[-1].strip()[:300]


def _free_port() -> int:
    """A port that nobody has, none of those that the kernel gives to whoever asks for any."""
    while True:
        port = random.randrange(10_000, 32_000)  # noqa: S311  # a port is no secret
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
