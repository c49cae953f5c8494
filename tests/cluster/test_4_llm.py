"""The llm beside the others: it fetches its model, answers, and finishes its streams."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psutil
import pytest
from cluster import images
from cluster.callers import Plan
from cluster.clusters import Cluster
from cluster.mesh import CHART, Mesh
from cluster.models import Models
from cluster.nodes import Nodes
from real_mesh import trained_models

pytestmark = [pytest.mark.cluster, pytest.mark.full]

FREE_BYTES = 9 * 1024**3
# The image, its archive, and what each node makes of it.
DISK_BYTES = 48 * 1024**3
# A node of a small machine loads and compiles for minutes.
START_S = 1500.0
VALUES: dict[str, Any] = {
    "enabled": True,
    "resources": {
        "requests": {"cpu": "100m", "memory": "5Gi"},
        "limits": {"cpu": "2", "memory": "8Gi"},
    },
    "settings": {
        "kv_cache_bytes": 1024**3,
        "max_context_tokens": 4096,
        "compile_model": False,
        "drain_timeout_s": 300,
    },
}


@pytest.fixture(scope="module")
def with_llm(
    cluster: Cluster,
    mesh: Mesh,
    models: Models,
    nodes: Nodes,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Mesh]:
    """The mesh with an llm, for as long as these tests take."""
    folder = tmp_path_factory.mktemp("llm")
    if not (trained_models() / "aliases" / "llm" / "production").is_dir():
        pytest.skip("there is no llm in the store: `mesh models train llm` makes one")
    if (free := psutil.virtual_memory().available) < FREE_BYTES:
        pytest.skip(f"the llm needs {FREE_BYTES >> 30} GiB of memory, and {free >> 30} are free")
    if (free := shutil.disk_usage(folder).free) < DISK_BYTES:
        pytest.skip(f"the llm needs {DISK_BYTES >> 30} GiB of disk, and {free >> 30} are free")
    archive = images.build_llm(folder)
    cluster.load(archive)
    archive.unlink()
    models.push("llm")
    try:
        mesh.install(CHART, {"services": {"llm": VALUES}}, timeout_s=START_S)
        yield mesh
    finally:
        mesh.install(CHART)


@contextmanager
def asked(mesh: Mesh, plan: Plan, key: str, **wanted: Any) -> Iterator[tuple[int, IO[bytes]]]:
    """The status of a chat, and its body as it comes."""
    question = {
        "address": plan.http,
        "path": "/v1/chat/completions",
        "headers": {"content-type": "application/json", "authorization": f"Bearer {key}"},
        "body": {
            "model": "llm",
            "messages": [{"role": "user", "content": "Count to 100."}],
            **wanted,
        },
        "timeout_s": 300,
    }
    with subprocess.Popen(
        mesh.cluster.inside(sys.executable, "-m", "cluster.asking"),
        cwd=Path(__file__).resolve().parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as running:
        assert running.stdin
        assert running.stdout
        running.stdin.write(json.dumps(question).encode())
        running.stdin.close()
        yield int(running.stdout.readline()), running.stdout


def status_of(mesh: Mesh, plan: Plan, key: str) -> int:
    """The status of a chat of one token."""
    with asked(mesh, plan, key, max_tokens=1) as (status, body):
        body.read()
    return status


@pytest.fixture(scope="module")
def key(with_llm: Mesh) -> str:
    return with_llm.mesh("keys", "create", "llm", "--scope=llm").strip()


def test_it_answers_through_the_gateway(with_llm: Mesh, plan: Plan, key: str) -> None:
    with asked(with_llm, plan, key, max_tokens=8, temperature=0) as (status, body):
        content = json.load(body)
    assert status == 200, content
    assert content["usage"]["completion_tokens"] == 8
    assert content["choices"][0]["finish_reason"] == "length"


def test_its_pod_may_do_nothing_but_run(with_llm: Mesh) -> None:
    (pod,) = with_llm.ready("llm")
    script = "touch /written /models/written; df /dev/shm; ls /models/models"
    inside = ("--container=llm", "--", "sh", "-c", f"{{ {script}; }} 2>&1")
    said = with_llm.kubectl("exec", pod, *inside)
    assert said.count("Read-only file system") == 2
    assert "1048576" in said  # of KiB: what the chart says, not the runtime's 64 MiB
    assert said.split()[-1] == "llm"  # it fetched its own model and no other


def test_a_stream_outlives_the_stop_of_its_pod(with_llm: Mesh, plan: Plan, key: str) -> None:
    with asked(with_llm, plan, key, max_tokens=160, temperature=0, stream=True) as (status, body):
        assert status == 200, body.read()
        assert body.readline().startswith(b"data: {")
        (pod,) = with_llm.ready("llm")
        with_llm.kubectl("delete", "pod", pod, "--wait=false")
        assert body.read().rstrip().endswith(b"data: [DONE]")
    with_llm.until(lambda: with_llm.ready("llm") not in ([], [pod]), "another llm", START_S)
    # Once it is ready its address is told to the gateways, which takes seconds.
    with_llm.until(lambda: status_of(with_llm, plan, key) == 200, "an answer of the other llm")
