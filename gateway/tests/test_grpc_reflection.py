"""Reflection at the gRPC door: what a caller may call, and no more."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from door_calls import failure, with_key
from meshkit.keys import ApiKey
from processes import PATIENCE_S, Mesh

SERVICE = "mesh.classifier.v1.ClassifierService"
INFERENCE = "inference.GRPCInferenceService"


@pytest.fixture
async def channel(mesh: Mesh) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(mesh.gateway.address) as opened:
        yield opened


async def listed(channel: grpc.aio.Channel, key: ApiKey) -> set[str]:
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    call = _reflection(channel).ServerReflectionInfo(
        iter([question]), timeout=PATIENCE_S, metadata=with_key(key)
    )
    answer = await call.read()
    return {service.name for service in answer.list_services_response.service}


async def test_a_caller_sees_what_it_may_call(mesh: Mesh, channel: grpc.aio.Channel) -> None:
    assert await listed(channel, mesh.key) == {
        SERVICE,
        INFERENCE,
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


async def test_a_caller_without_scopes_sees_what_everybody_may_call(
    mesh: Mesh, channel: grpc.aio.Channel
) -> None:
    key = mesh.make_key()
    mesh.set_scopes(key, "another")
    assert await listed(channel, key) == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


async def test_strangers_see_nothing(channel: grpc.aio.Channel) -> None:
    # It sends nothing: a client that meets the refusal while it sends tells of that instead.
    call = _reflection(channel).ServerReflectionInfo(timeout=PATIENCE_S)
    error = await failure(call.read())
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


async def told(channel: grpc.aio.Channel, key: ApiKey, symbol: str) -> Any:
    """The answer to a question for the file that a name stands in."""
    question = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
    call = _reflection(channel).ServerReflectionInfo(
        iter([question]), timeout=PATIENCE_S, metadata=with_key(key)
    )
    return await call.read()


async def test_a_contract_is_told_whole(mesh: Mesh, channel: grpc.aio.Channel) -> None:
    answer = await told(channel, mesh.key, SERVICE)
    files = answer.file_descriptor_response.file_descriptor_proto
    assert any(b"mesh/classifier/v1/classifier.proto" in file for file in files)


async def test_what_is_not_shown_is_not_told(mesh: Mesh, channel: grpc.aio.Channel) -> None:
    key = mesh.make_key()
    mesh.set_scopes(key, "another")
    for asker, symbol in ((mesh.key, "mesh.dispatch.v1.DispatchService"), (key, SERVICE)):
        answer = await told(channel, asker, symbol)
        assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def _reflection(channel: Any) -> Any:
    """Its stub; the types know of synchronous channels only."""
    return reflection_pb2_grpc.ServerReflectionStub(channel)
