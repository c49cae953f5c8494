"""Callers that leave at random moments, over every door and in every way."""

import asyncio
import json
import random
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import grpc

from counter_contract import COUNT, Count, CountRequest
from counter_gateway import PATH
from counter_mesh import CounterMesh
from mesh.classifier.v1 import classifier_pb2
from processes import PATIENCE_S

KINDS: Final = ("unary HTTP", "events", "unary gRPC", "streaming gRPC")
_AT_ONCE: Final = 50
_STAY_S: Final = 0.2
"""Longest that one stays."""
_RESET: Final = b"\1\0\0\0\0\0\0\0"
_TEXTS: Final = ("wait", "wait", "a")
_WISHES: Final = ("for ever", "2 wait", "3", "1 fault", "refuse")


class Leavers:
    """Sends callers to a mesh, of every kind in turn.

    Args:
        mesh: whose gateway they ask.
        keys: what they present, one after the other.
        seed: of their chance.
    """

    def __init__(self, mesh: CounterMesh, keys: Sequence[str], seed: int) -> None:
        self._mesh = mesh
        self._keys = keys
        self._chance = random.Random(seed)
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def come_and_go(self, count: int) -> None:
        """Returns when so many have left."""
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(self._one(number))

    async def _one(self, number: int) -> None:
        kind = KINDS[number % len(KINDS)]
        key = self._keys[number // len(KINDS) % len(self._keys)]
        async with self._places:
            if kind == "unary HTTP":
                await self._over_http(key, "/v1/classify", {"texts": [self._one_of(_TEXTS)]})
            elif kind == "events":
                await self._over_http(key, PATH, {"wish": self._one_of(_WISHES)})
            else:
                await self._over_grpc(key, streaming=kind == "streaming gRPC")

    def _one_of(self, choices: Sequence[str]) -> str:
        return self._chance.choice(choices)

    async def _over_http(self, key: str, path: str, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        request = (
            f"POST {path} HTTP/1.1\r\nhost: mesh\r\nx-api-key: {key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        ).encode() + content
        sent = len(request) if self._chance.random() < 0.8 else self._chance.randrange(len(request))
        reader, writer = await asyncio.open_connection("127.0.0.1", self._mesh.gateway.port)
        writer.write(request[:sent])
        with suppress(TimeoutError):
            async with asyncio.timeout(self._chance.uniform(0, _STAY_S)):
                await reader.read(-1)
        if self._chance.random() < 0.5:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()

    async def _over_grpc(self, key: str, *, streaming: bool) -> None:
        channel = grpc.aio.insecure_channel(
            self._mesh.gateway.address, [("grpc.use_local_subchannel_pool", 1)]
        )
        call = self._call(channel, key, streaming=streaming)
        with suppress(TimeoutError, grpc.aio.AioRpcError):
            async with asyncio.timeout(self._chance.uniform(0, _STAY_S)):
                await (self._read_on(call) if streaming else call)
        if self._chance.random() < 0.5:
            call.cancel()
        await channel.close()

    def _call(self, channel: grpc.aio.Channel, key: str, *, streaming: bool) -> Any:
        metadata = (("x-api-key", key),)
        if streaming:
            count: Any = channel.unary_stream(f"/{COUNT}", response_deserializer=Count.FromString)
            wish = CountRequest(wish=self._one_of(_WISHES)).SerializeToString()
            return count(wish, metadata=metadata)
        classify: Any = channel.unary_unary(
            "/mesh.classifier.v1.ClassifierService/Classify",
            request_serializer=classifier_pb2.ClassifyRequest.SerializeToString,
            response_deserializer=classifier_pb2.ClassifyResponse.FromString,
        )
        texts = classifier_pb2.ClassifyRequest(texts=[self._one_of(_TEXTS)])
        return classify(texts, metadata=metadata)

    async def _read_on(self, call: Any) -> None:
        while await call.read() is not grpc.aio.EOF:
            pass
