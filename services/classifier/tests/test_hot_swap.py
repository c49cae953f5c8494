"""A version is promoted, rolled back and found bad, while 32 callers keep asking."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
import yaml

from mesh.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from meshkit import aliases
from meshkit.store import Version
from processes import Process, Start
from support import until

CALLERS = 32
PATIENCE_S = 60.0
CALL_S = 30.0
MIB = 2**20


@pytest.fixture
def home(version: Version, tmp_path: Path) -> Path:
    """A store with the trained version under three names, the first of them in production."""
    source = version.file("config.json").parent
    for name in ("first", "second", "damaged"):
        folder = tmp_path / "models" / version.model / name
        shutil.copytree(source, folder)
        manifest = yaml.safe_load((folder / "model.yaml").read_text())
        manifest["version"] = name
        (folder / "model.yaml").write_text(yaml.safe_dump(manifest))
    (tmp_path / "models" / version.model / "damaged" / "tokenizer.json").unlink()
    promote(tmp_path, "first")
    return tmp_path


@pytest.fixture
def process(start: Start, home: Path) -> Iterator[Process]:
    started = start(
        MESH_MODELS_PATH=str(home),
        # The larger graph, to see whether its memory comes back.
        MESH_CLASSIFIER_PRECISION="fp32",
        # So many callers ask more than it answers while another version is loaded.
        MESH_CLASSIFIER_MAX_QUEUE_WAIT_MS="60000",
        MESH_CLASSIFIER_MAX_STANDING_WAIT_MS="60000",
    )
    yield started
    started.end()


def promote(home: Path, version: str) -> None:
    aliases.write(home, "classifier", version, replaces=aliases.read(home, "classifier"))


class Callers:
    """Callers that ask for as long as they are let, and the version of each answer."""

    def __init__(self, stub: "classifier_pb2_grpc.ClassifierServiceAsyncStub") -> None:
        self.stub = stub
        self.versions: list[str] = []
        self._done = False

    async def _ask(self, caller: int) -> None:
        request = classifier_pb2.ClassifyRequest(texts=[f"Text {caller}.", "Another one."])
        while not self._done:
            response = await self.stub.Classify(request, timeout=CALL_S)
            assert [result.WhichOneof("outcome") for result in response.results] == [
                "classification"
            ] * 2
            self.versions.append(response.lineage.version)

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            for caller in range(CALLERS):
                group.create_task(self._ask(caller))
            yield
            self._done = True

    async def answered_by(self, version: str) -> None:
        """Returns once a hundred answers in a row are the version's."""
        async with asyncio.timeout(PATIENCE_S):
            while set(self.versions[-100:]) != {version}:  # noqa: ASYNC110  # callers set none
                await asyncio.sleep(0.05)


@pytest.mark.full
async def test_versions_swap_under_load_and_no_request_fails(home: Path, process: Process) -> None:
    async with grpc.aio.insecure_channel(process.target) as channel:
        stub = cast(Any, classifier_pb2_grpc.ClassifierServiceStub(channel))
        ready = classifier_pb2.ClassifyRequest(texts=["warm"])
        await stub.Classify(ready, timeout=PATIENCE_S, wait_for_ready=True)
        callers = Callers(stub)
        async with callers.asking():
            await callers.answered_by("first")
            one_model = process.memory_bytes()
            for version in ("second", "first", "second", "first", "second"):
                promote(home, version)
                await callers.answered_by(version)
            # Were a model kept at each swap, six of them would be here now.
            size = (home / "models/classifier/first/model.fp32.onnx").stat().st_size
            await until(lambda: process.memory_bytes() < one_model + size)

            promote(home, "damaged")
            refused = await refusal(stub)
            assert refused.version == "damaged"
            assert "tokenizer.json is missing" in refused.reason
            assert set(callers.versions[-100:]) == {"second"}
        assert set(callers.versions) == {"first", "second"}
    metrics = process.metrics()
    serving = 'mesh_model_info{mesh_model="classifier",mesh_model_version="second"'
    assert [line[-3:] for line in metrics.splitlines() if line.startswith(serving)] == ["1.0"]
    refused_swaps = 'mesh_model_swaps_total{mesh_model="classifier",mesh_swap_outcome="refused"'
    assert refused_swaps in metrics
    assert "can't serve the version that classifier@production names" in process.log.read_text()


async def refusal(stub: Any) -> Any:
    """What the service says of a version that it refused, once it does."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            model = await stub.GetModel(classifier_pb2.GetModelRequest(), timeout=CALL_S)
            if model.HasField("refused"):
                return model.refused
            await asyncio.sleep(0.05)
