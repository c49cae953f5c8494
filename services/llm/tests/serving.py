"""The service as it is put together, in this process, before an upstream."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from mesh.llm.v1 import llm_pb2, llm_pb2_grpc
from mesh_llm.app import app
from mesh_llm.settings import Settings
from ports import free_port
from support import PATIENCE_S

TIMEOUT_S = PATIENCE_S


@dataclass
class Serving:
    """A running service."""

    stub: "llm_pb2_grpc.LlmServiceAsyncStub"
    channel: grpc.aio.Channel


@asynccontextmanager
async def serve(upstream_url: str, **changes: Any) -> AsyncIterator[Serving]:
    settings = Settings(
        engine="remote",
        upstream_url=upstream_url,
        upstream_model="their-model",
        grpc_port=free_port(),
        admin_port=free_port(),
        deployment="test",
        **changes,
    )
    async with app(settings) as running:
        (server,) = running.servers
        await server.start()
        tasks = [asyncio.ensure_future(task) for task in running.tasks]
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel:
                stub: Any = llm_pb2_grpc.LlmServiceStub(channel)
                yield Serving(stub, channel)
        finally:
            await server.stop(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def request(text: str = "Say hello.", **fields: Any) -> llm_pb2.ChatRequest:
    message = llm_pb2.Message(role=llm_pb2.ROLE_USER, content=[llm_pb2.ContentPart(text=text)])
    return llm_pb2.ChatRequest(messages=[message], **fields)


async def said(call: Any) -> list[Any]:
    """All messages of a stream."""
    return [message async for message in call]


def details_of(error: grpc.aio.AioRpcError) -> Sequence[Any]:
    """The details of an error, each as the message that it is."""
    metadata: Any = error.trailing_metadata()
    status = status_pb2.Status.FromString(dict(metadata)["grpc-status-details-bin"])
    kinds = {
        kind.DESCRIPTOR.full_name: kind
        for kind in (
            error_details_pb2.ErrorInfo,
            error_details_pb2.BadRequest,
            error_details_pb2.RetryInfo,
        )
    }
    found = []
    for detail in status.details:
        message = kinds[detail.type_url.rpartition("/")[2]]()
        detail.Unpack(message)
        found.append(message)
    return found


async def refused(call: Any) -> grpc.aio.AioRpcError:
    """The error that a stream ends with."""
    try:
        await said(call)
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("it was answered")
