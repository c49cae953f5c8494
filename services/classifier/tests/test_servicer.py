"""The messages of the service, over a real gRPC server in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any, cast

import grpc
import pytest

from mesh.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from mesh_classifier.model import Classifier
from mesh_classifier.network import Network
from mesh_classifier.servicer import ClassifierServicer, Served
from mesh_classifier.settings import Settings
from meshkit.server import GrpcServer, Service
from meshkit.swap import Refusal
from ports import free_port
from support import ABOUT, CALL_S, UNBEARABLE, Held, serving, until

REFUSAL = Refusal("2", "it can't be served", datetime(2026, 1, 3, tzinfo=UTC))


@asynccontextmanager
async def connected(
    classifier: Classifier,
) -> AsyncIterator["classifier_pb2_grpc.ClassifierServiceAsyncStub"]:
    given: dict[str, Any] = {"models_path": "/nowhere", "grpc_port": free_port()}
    settings = Settings(**given)
    served = Served(classifier, ABOUT)
    servicer = ClassifierServicer(lambda: nullcontext(served), lambda: REFUSAL)
    service = Service(classifier_pb2_grpc.add_ClassifierServiceServicer_to_server, servicer)
    server = GrpcServer(settings, [service])
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel:
        # One generated class serves both kinds of channel, and its types tell them apart.
        yield cast(Any, classifier_pb2_grpc.ClassifierServiceStub(channel))
    await server.stop(CALL_S)


async def test_an_item_has_an_answer_or_an_error_of_its_own(broken: Network) -> None:
    request = classifier_pb2.ClassifyRequest(texts=["A delight.", f"{UNBEARABLE}."])
    async with serving(broken) as (classifier, _), connected(classifier) as stub:
        response = await stub.Classify(request, timeout=CALL_S)
    good, failed = response.results
    assert good.WhichOneof("outcome") == "classification"
    assert failed.WhichOneof("outcome") == "error"
    assert (failed.error.code, failed.error.reason) == (13, "MODEL_FAILED")
    assert "allow_degraded" in failed.error.message
    assert not failed.error.retryable
    assert response.lineage == ABOUT.lineage.to_proto()


async def test_a_fallback_says_that_it_answered(broken: Network) -> None:
    request = classifier_pb2.ClassifyRequest(texts=[f"{UNBEARABLE} love"], allow_degraded=True)
    async with serving(broken) as (classifier, _), connected(classifier) as stub:
        response = await stub.Classify(request, timeout=CALL_S)
    (result,) = response.results
    assert result.classification.label == "positive"
    assert result.classification.degraded.reason == (
        "the model failed on this text; the VADER lexicon rule answered"
    )


async def test_describes_the_version_that_serves(fp32: Network) -> None:
    async with serving(fp32) as (classifier, _), connected(classifier) as stub:
        model = await stub.GetModel(classifier_pb2.GetModelRequest(), timeout=CALL_S)
    assert model.lineage.variant == "canary"
    assert dict(model.metrics) == {"accuracy": 0.5}
    assert (model.max_length_tokens, model.max_texts, model.precision) == (256, 12, "fp32")
    assert model.serving_since.ToDatetime(UTC) == ABOUT.serving_since
    assert list(model.labels) == ["negative", "neutral", "positive"]
    tensors = {
        each.name: (each.datatype, list(each.shape))
        for each in [*model.signature.inputs, *model.signature.outputs]
    }
    assert [each.name for each in model.signature.inputs] == ["text"]
    assert tensors == {
        "text": ("BYTES", [-1]),
        "label": ("BYTES", [-1]),
        "probabilities": ("FP32", [-1, 3]),
        "valence": ("FP32", [-1]),
        "truncated": ("BOOL", [-1]),
        "degraded": ("BOOL", [-1]),
    }


async def test_a_call_that_is_cancelled_while_it_waits_costs_no_inference(fp32: Network) -> None:
    held = Held(fp32)
    async with (
        serving(fp32, run=held, max_batch_size=1) as (classifier, batcher),
        connected(classifier) as stub,
    ):
        first = stub.Classify(classifier_pb2.ClassifyRequest(texts=["first"]), timeout=CALL_S)
        await held.begun.wait()
        leaver = stub.Classify(classifier_pb2.ClassifyRequest(texts=["left"]), timeout=CALL_S)
        await until(lambda: batcher.queued == 1)
        leaver.cancel()
        await until(lambda: batcher.queued == 0)
        held.go_on.set()
        await first
        with pytest.raises(asyncio.CancelledError):
            await leaver
    assert held.seen == ["first"]


async def test_a_full_queue_says_when_to_come_back(fp32: Network) -> None:
    held = Held(fp32)
    async with (
        serving(fp32, run=held, max_batch_size=1, queue_capacity=1) as (classifier, batcher),
        connected(classifier) as stub,
    ):
        request = classifier_pb2.ClassifyRequest(texts=["good"], allow_degraded=True)
        running = stub.Classify(request, timeout=CALL_S)
        await held.begun.wait()
        waiting = stub.Classify(request, timeout=CALL_S)
        await until(lambda: batcher.queued == 1)
        with pytest.raises(grpc.aio.AioRpcError) as shed:
            await stub.Classify(request, timeout=CALL_S)
        assert shed.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        trailing = dict(shed.value.trailing_metadata() or ())
        assert int(trailing["grpc-retry-pushback-ms"]) > 0
        held.go_on.set()
        await asyncio.gather(running, waiting)
