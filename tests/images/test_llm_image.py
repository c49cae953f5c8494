"""The image of the llm: it serves a model from a volume, as its user, and writes to /tmp alone."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest
from real_mesh import free_ports, trained_models

from images import containers
from images.containers import Container
from mesh.llm.v1 import llm_pb2, llm_pb2_grpc

pytestmark = pytest.mark.full

FREE_BYTES = 8 * 1024**3
DISK_BYTES = 30 * 1024**3
"""For the image, and the layers that it is built in."""
MOST_BYTES = 9 * 10**9
# It loads beside whatever else the machine does.
START_S = 900.0


@pytest.fixture(scope="module")
def models() -> Path:
    """A store with an llm in production."""
    if not containers.is_running():
        pytest.skip("Docker does not answer: start it (`systemctl start docker`, or `dockerd &`)")
    home = trained_models()
    if not (home / "aliases" / "llm" / "production").is_dir():
        pytest.skip("there is no llm in the store: `mesh models train llm` makes one")
    if (free := psutil.virtual_memory().available) < FREE_BYTES:
        pytest.skip(f"the llm needs {FREE_BYTES >> 30} GiB of memory, and {free >> 30} are free")
    if (free := shutil.disk_usage("/").free) < DISK_BYTES:
        pytest.skip(f"its image needs {DISK_BYTES >> 30} GiB of disk, and {free >> 30} are free")
    containers.build("llm")
    return home


@pytest.fixture(scope="module")
def ports() -> tuple[int, int]:
    """Of the service and of its metrics."""
    grpc_port, admin_port = free_ports(2)
    return grpc_port, admin_port


@pytest.fixture(scope="module")
def llm(models: Path, ports: tuple[int, int]) -> Iterator[Container]:
    """A container that serves the model, compiled as it is by default."""
    told = {
        "MESH_BIND_ADDRESS": "127.0.0.1",
        "MESH_LLM_GRPC_PORT": ports[0],
        "MESH_LLM_ADMIN_PORT": ports[1],
        "MESH_LLM_KV_CACHE_BYTES": 1024**3,
        "MESH_LLM_MAX_CONTEXT_TOKENS": 4096,
    }
    # Compiled code is run from /tmp, and the engine's processes meet in shared memory.
    room = ("--tmpfs", "/tmp:exec,mode=1777", "--shm-size", "1g")
    with Container("llm", told, {str(models): "/models:ro"}, more=room) as container:
        yield container


@pytest.fixture(scope="module")
def stub(llm: Container, ports: tuple[int, int]) -> Iterator[llm_pb2_grpc.LlmServiceStub]:
    """The service, once it answers."""
    with grpc.insecure_channel(f"127.0.0.1:{ports[0]}") as channel:
        give_up_at = time.monotonic() + START_S
        while True:
            try:
                grpc.channel_ready_future(channel).result(timeout=2)
                break
            except grpc.FutureTimeoutError:
                assert not llm.ended, llm.log[-4000:]
                assert time.monotonic() < give_up_at, llm.log[-4000:]
        yield llm_pb2_grpc.LlmServiceStub(channel)


def test_it_generates(stub: llm_pb2_grpc.LlmServiceStub) -> None:
    said = [llm_pb2.ContentPart(text="Say hello.")]
    request = llm_pb2.ChatRequest(
        messages=[llm_pb2.Message(role=llm_pb2.ROLE_USER, content=said)],
        sampling=llm_pb2.Sampling(max_tokens=8, temperature=0),
    )
    steps = list(stub.Chat(request, timeout=120))
    assert steps[-1].usage.completion_tokens == 8
    assert "".join(step.delta.content for step in steps).strip()


def test_it_runs_as_its_user_and_can_write_nowhere_else(
    stub: llm_pb2_grpc.LlmServiceStub, llm: Container
) -> None:
    # Each process of the engine, too.
    owners = llm.run("sh", "-c", "stat --format %u /proc/[0-9]*").split()
    assert len(owners) >= 4
    assert {*owners} == {"10001"}
    script = "touch /written /models/written /app/written 2>&1; true"
    assert llm.run("sh", "-c", script).count("Read-only file system") == 3


def test_it_ends_in_order_with_its_engine(
    stub: llm_pb2_grpc.LlmServiceStub, llm: Container
) -> None:
    assert llm.stop() == 0, llm.log[-4000:]


def test_it_takes_no_more_than_what_the_page_says(models: Path) -> None:
    assert containers.inspect("llm")["Size"] < MOST_BYTES
