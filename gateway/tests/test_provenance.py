"""The gRPC door remembers which model answered, as the HTTP door does."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from counter_contract import COUNT, CountRequest
from counter_mesh import CounterMesh
from inference import open_inference_grpc_pb2 as inference_pb2
from inference.open_inference_grpc_pb2_grpc import GRPCInferenceServiceStub
from mesh.classifier.v1 import classifier_pb2
from mesh.classifier.v1.classifier_pb2_grpc import ClassifierServiceStub
from mesh.common.v1 import common_pb2
from mesh_gateway.grpc_door import provenance
from mesh_gateway.lineage_log import LineageLog
from meshkit.interceptors import Call
from meshkit.lineage_store import Answer, LineageStore
from processes import Mesh, until

TIMEOUT_S = 20.0


@pytest.fixture
async def channel(mesh: Mesh) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(mesh.gateway.address) as opened:
        yield opened


def with_key(mesh: Mesh, request_id: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {mesh.key.text}"), ("x-request-id", request_id))


async def remembered(mesh: Mesh, request_id: str) -> Answer:
    found: list[Answer] = []

    async def find() -> bool:
        async with LineageStore(mesh.redis.url) as store:
            found.extend(await store.find(request_id))
        return found != []

    await asyncio.to_thread(until, lambda: asyncio.run(find()), "the record")
    (answer,) = found
    return answer


async def test_of_a_stream(counter_mesh: CounterMesh) -> None:
    request_id = secrets.token_hex(8)
    async with grpc.aio.insecure_channel(counter_mesh.gateway.address) as channel:
        method: Any = channel.unary_stream(f"/{COUNT}")
        metadata = with_key(counter_mesh, request_id)
        request = CountRequest(wish="2").SerializeToString()
        async for _ in method(request, metadata=metadata, timeout=TIMEOUT_S):
            pass
    answer = await remembered(counter_mesh, request_id)
    assert (answer.lineage.model, answer.lineage.version) == ("counter", "1")


async def test_of_a_method_of_a_service(mesh: Mesh, channel: grpc.aio.Channel) -> None:
    request_id = secrets.token_hex(8)
    stub: Any = ClassifierServiceStub(channel)
    await stub.Classify(
        classifier_pb2.ClassifyRequest(texts=["a"]),
        metadata=with_key(mesh, request_id),
        timeout=TIMEOUT_S,
    )
    answer = await remembered(mesh, request_id)
    assert (answer.lineage.model, answer.lineage.version) == ("classifier", "stand-in-1")


async def test_of_an_inference(mesh: Mesh, channel: grpc.aio.Channel) -> None:
    request_id = secrets.token_hex(8)
    request = inference_pb2.ModelInferRequest(model_name="classifier")
    tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(b"a")
    stub: Any = GRPCInferenceServiceStub(channel)
    await stub.ModelInfer(request, metadata=with_key(mesh, request_id), timeout=TIMEOUT_S)
    answer = await remembered(mesh, request_id)
    assert (answer.lineage.model, answer.lineage.version) == ("classifier", "stand-in-1")


@pytest.mark.parametrize("answer", [b"\xff\xff", b"\x0a\x05ab", b"\x0a\x01\xff", b""])
def test_bytes_that_are_no_answer_are_left_to_the_caller(answer: bytes) -> None:
    async def keep(lineages: object) -> None:
        raise AssertionError("there is nothing to keep")

    log = LineageLog(keep, 1)
    call = Call("a/B", {"x-request-id": "1"}, None)
    provenance.of_field(log, 1)(call, answer)
    provenance.of_parameters(log)(call, answer)


def test_an_answer_without_lineage_is_not_remembered() -> None:
    number = common_pb2.Lineage.DESCRIPTOR.fields_by_name["model"].number
    assert provenance.of_field(None, number) is provenance.nothing
    assert provenance.of_parameters(None) is provenance.nothing
