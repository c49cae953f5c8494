"""The embedder as it is started, called over gRPC, promoted, and ended by SIGTERM."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mesh.embedding.v1 import embedding_pb2, embedding_pb2_grpc
from mesh.embedding.v1.embedding_pb2 import EmbedInput, EmbedRequest
from meshkit import aliases
from meshkit.store import Version
from processes import CALL_S, START_S, Process, Start
from support import TEXTS

PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def home(version: Version, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the version under two names, and one that says to be of another model."""
    home = tmp_path_factory.mktemp("home")
    source = version.file("config.json").parent
    for name in ("first", "second", "other"):
        folder = home / "models" / version.model / name
        shutil.copytree(source, folder)
        manifest = yaml.safe_load((folder / "model.yaml").read_text())
        manifest["version"] = name
        if name == "other":
            manifest["metadata"]["base"] = "all-mpnet-base-v2"
        (folder / "model.yaml").write_text(yaml.safe_dump(manifest))
    aliases.write(home, "embedder", "first", replaces=None)
    return home


@pytest.fixture(scope="module")
def running(start: Start, home: Path) -> Process:
    process = start(MESH_MODELS_PATH=str(home))
    with grpc.insecure_channel(process.target) as channel:
        checker: Any = health_pb2_grpc.HealthStub(channel)  # typed without its methods
        health = checker.Check(
            health_pb2.HealthCheckRequest(service="mesh.embedding.v1.EmbeddingService"),
            timeout=START_S,
            wait_for_ready=True,
        )
    assert health.status == health_pb2.HealthCheckResponse.SERVING, process.log.read_text()
    return process


@pytest.fixture
def stub(running: Process) -> Iterator[embedding_pb2_grpc.EmbeddingServiceStub]:
    with grpc.insecure_channel(running.target) as channel:
        yield embedding_pb2_grpc.EmbeddingServiceStub(channel)


def asking(*texts: str) -> EmbedRequest:
    return EmbedRequest(inputs=[EmbedInput(text=text) for text in texts])


def test_embeds_and_counts_tokens(
    stub: embedding_pb2_grpc.EmbeddingServiceStub, running: Process
) -> None:
    response = stub.Embed(asking(*TEXTS), timeout=CALL_S)
    assert [len(result.embedding.values) for result in response.results] == [384] * len(TEXTS)
    assert response.lineage.model == "embedder"
    assert response.lineage.deployment == "test"
    metrics = running.metrics()
    line = next(line for line in metrics.splitlines() if line.startswith("mesh_tokens_total{"))
    assert 'gen_ai_operation_name="embeddings",gen_ai_request_model="embedder"' in line
    assert line.endswith(f" {float(response.usage.tokens)}")
    for name in (
        'mesh_batch_rows_total{mesh_batcher="embedder",mesh_row_outcome="answered"',
        "mesh_batch_queue_duration_seconds_bucket{",
        "\nmesh_cpu_threads ",
    ):
        assert name in metrics


def test_a_request_larger_than_the_queue_is_answered(
    stub: embedding_pb2_grpc.EmbeddingServiceStub,
) -> None:
    request = asking(*[f"number {number}" for number in range(600)])
    response = stub.Embed(request, timeout=PATIENCE_S)
    assert len(response.results) == 600
    assert {result.WhichOneof("outcome") for result in response.results} == {"embedding"}
    with pytest.raises(grpc.RpcError) as refused:
        stub.Embed(asking(*["a"] * 2049), timeout=CALL_S)
    assert refused.value.details() == (
        "inputs has 2049 inputs and may have 2048; send them in several requests"
    )


async def test_a_promotion_is_followed_and_one_to_another_model_refused(
    running: Process, home: Path
) -> None:
    async with grpc.aio.insecure_channel(running.target) as channel:
        stub: Any = embedding_pb2_grpc.EmbeddingServiceStub(channel)

        async def told(version: str, refused: str) -> Any:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    model = await stub.GetModel(embedding_pb2.GetModelRequest(), timeout=CALL_S)
                    if (model.lineage.version, model.refused.version) == (version, refused):
                        return model
                    await asyncio.sleep(0.05)

        promote(home, "second")
        await told("second", "")
        promote(home, "other")
        refused = await told("second", "other")
        assert refused.refused.reason == (
            "embedder:other is all-mpnet-base-v2 with 384 dimensions, and callers have embeddings "
            "of all-MiniLM-L6-v2 with 384: serve it as a deployment of its own"
        )
        promote(home, "first")
        await told("first", "")


def promote(home: Path, version: str) -> None:
    aliases.write(home, "embedder", version, replaces=aliases.read(home, "embedder"))


def test_ends_with_success_when_told_to(running: Process) -> None:
    assert running.end() == 0, running.log.read_text()


def test_without_a_model_says_how_to_get_one(start: Start, tmp_path: Path) -> None:
    process = start(MESH_MODELS_PATH=str(tmp_path))
    assert process.process.wait(timeout=START_S) == 2
    said = process.log.read_text().splitlines()[-1]
    assert said == (
        f"no version of embedder is in production in {tmp_path}; run `mesh models train embedder`"
    )
