"""A caller of the gRPC door that leaves, or has no more time, costs no more work."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from door_calls import Call, classify, infer
from processes import Mesh, until

METHODS = pytest.mark.parametrize("call", [classify, infer])


@pytest.fixture
async def channel(mesh: Mesh) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(mesh.gateway.address) as opened:
        yield opened


async def becomes(mesh: Mesh, what: str, count: int) -> None:
    """Waits until the service has counted so many."""
    await asyncio.to_thread(until, lambda: mesh.service.counts().get(what, 0) == count, what)


@METHODS
async def test_a_caller_that_leaves_cancels_the_work(
    mesh: Mesh, channel: grpc.aio.Channel, call: Call
) -> None:
    before = mesh.service.counts()
    begun = call(channel, mesh.key, "wait")
    await becomes(mesh, "begun", before.get("begun", 0) + 1)
    begun.cancel()
    await becomes(mesh, "cancelled", before.get("cancelled", 0) + 1)
    await asyncio.to_thread(until, mesh.gateway.at_rest, "the rest of the gateway")


@METHODS
async def test_a_connection_that_is_gone_cancels_the_work(mesh: Mesh, call: Call) -> None:
    before = mesh.service.counts()
    async with grpc.aio.insecure_channel(mesh.gateway.address) as own:
        begun = call(own, mesh.key, "wait")
        await becomes(mesh, "begun", before.get("begun", 0) + 1)
    assert begun.cancelled()
    await becomes(mesh, "cancelled", before.get("cancelled", 0) + 1)


@METHODS
async def test_a_deadline_that_passes_ends_the_work(
    mesh: Mesh, channel: grpc.aio.Channel, call: Call
) -> None:
    before = mesh.service.counts().get("cancelled", 0)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(channel, mesh.key, "wait", timeout_s=0.5)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await becomes(mesh, "cancelled", before + 1)
