"""Calls to a service of the mesh, over all its replicas."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import grpc

from meshkit import context, deadline, names, telemetry
from meshkit.deadline import Deadline
from meshkit.dispatch import DRAINING, MAX_PAYLOAD_BYTES, NOT_SENT
from meshkit.endpoints import Endpoint, Endpoints
from meshkit.errors import Code, InvalidArgument, MeshError
from meshkit.renderings import from_status

_NEVER_BEGAN: Final = frozenset({DRAINING, NOT_SENT})
_duration = telemetry.histogram(
    names.RPC_CLIENT_DURATION, "s", "Time from a call to its answer, over every replica tried."
)

S = TypeVar("S")


class Client:
    """A client of one service: an async context manager for as long as the process lives.

    Args:
        name: what the service is called in metrics, logs and messages.
        target: where its replicas are, as `Endpoints` takes it.
        max_message_bytes: the mesh's limit for public messages.
    """

    def __init__(self, name: str, target: str, *, max_message_bytes: int) -> None:
        self.name = name
        self.endpoints = Endpoints(name, target, max_message_bytes)

    async def __aenter__(self) -> Client:
        await self.endpoints.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.endpoints.__aexit__()

    @property
    def serving(self) -> bool:
        """Whether any replica serves."""
        return any(endpoint.serving for endpoint in self.endpoints.all)

    def stub(self, stub_type: Callable[[grpc.aio.Channel], S]) -> S:
        """The generated stub over this client: `client.stub(ClassifierServiceStub)`.

        Its unary methods take the deadline and the request from the context variables and raise
        `MeshError`.
        """
        return stub_type(cast(grpc.aio.Channel, _StubChannel(self)))

    async def call(self, method: str, payload: bytes) -> bytes:
        """Makes one unary call under the current deadline.

        A call that never began, because its replica was leaving or lost, goes to another one; no
        other is repeated.

        Args:
            method: full name, `package.Service/Method`.
            payload: the serialised request.

        Returns:
            The serialised response.

        Raises:
            InvalidArgument: there is no current deadline.
            MeshError: what the service answered, or `Unavailable` where no replica could be asked.
        """
        limit = deadline.current()
        if limit is None:
            raise InvalidArgument("a call needs a deadline; enter meshkit.deadline.scope first")
        started = time.perf_counter()
        code = Code.CANCELLED
        try:
            response = await deadline.enforce(self._call_any(method, payload, limit))
            code = Code.OK
            return response
        except MeshError as error:
            code = error.code
            raise
        finally:
            _duration.record(
                time.perf_counter() - started,
                {
                    names.RPC_SYSTEM: "grpc",
                    names.RPC_METHOD: method,
                    names.RPC_STATUS: code.name,
                },
            )

    async def _call_any(self, method: str, payload: bytes, limit: Deadline) -> bytes:
        tried: set[str] = set()
        while True:
            endpoint = self.endpoints.choose(frozenset(tried))
            endpoint.outstanding += 1
            try:
                return await _call_one(endpoint, method, payload, limit)
            except MeshError as error:
                tried.add(endpoint.address)
                others = any(e.serving and e.address not in tried for e in self.endpoints.all)
                if error.reason not in _NEVER_BEGAN or not others:
                    raise
            finally:
                endpoint.outstanding -= 1


async def _call_one(endpoint: Endpoint, method: str, payload: bytes, limit: Deadline) -> bytes:
    metadata = context.to_metadata()
    if len(payload) <= MAX_PAYLOAD_BYTES:
        return await endpoint.stream.call(method, payload, metadata, limit)
    multicallable: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = endpoint.channel.unary_unary(
        f"/{method}"
    )
    try:
        return await multicallable(
            payload, timeout=limit.remaining_s, metadata=tuple(metadata.items())
        )
    except grpc.aio.AioRpcError as error:
        trailing = dict(cast(Any, error.trailing_metadata()) or ())
        raise from_status(
            error.code().value[0], error.details() or "", trailing.get(names.STATUS_DETAILS)
        ) from error


class _StubChannel:
    """As much of a gRPC channel as a generated stub of unary methods asks for."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes],
        response_deserializer: Callable[[bytes], Any],
        **_: object,
    ) -> Callable[[Any], Any]:
        name = method.removeprefix("/")

        async def call(request: Any) -> Any:
            response = await self._client.call(name, request_serializer(request))
            return response_deserializer(response)

        return call
