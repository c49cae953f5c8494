"""A service's gRPC server: its methods, the dispatch stream over them, health, and the drain."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol, cast

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from mesh.dispatch.v1 import dispatch_pb2
from meshkit import channels, tls
from meshkit.dispatch import UnarySessions
from meshkit.errors import InvalidArgument
from meshkit.grpc_calls import GrpcCalls, Handlers, UnknownMethods, refuse_unknown
from meshkit.health import Health, HealthPort
from meshkit.interceptors import Call, Handler, intercepted, observe
from meshkit.settings import ServiceSettings
from meshkit.stream_sessions import StreamSessions

_log = logging.getLogger(__name__)
_DISPATCH = "mesh.dispatch.v1.DispatchService"
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Service:
    """One gRPC service: the generated function that adds it to a server, and its servicer.

    The servicer's methods are coroutines of the request and an unused context, or asynchronous
    generators of the messages where the answer is a stream; deadline, caller and request id are
    context variables, and errors are raised as `MeshError`.
    """

    def __init__(self, add_to_server: Callable[[Any, Any], None], servicer: object) -> None:
        registrar = _Registrar()
        add_to_server(servicer, registrar)
        self.name = registrar.name
        unary, streaming = {}, {}
        for short_name, method in registrar.methods.items():
            full_name = f"{registrar.name}/{short_name}"
            if method.unary_unary is not None:
                unary[full_name] = intercepted(_unary(method, method.unary_unary))
            elif method.unary_stream is not None:
                streaming[full_name] = intercepted(_streaming(method, method.unary_stream))
            else:
                raise TypeError(f"{full_name} takes a stream of requests; no method here does")
        self.handlers = Handlers(unary, streaming)


class _Registrar:
    """Stands in for a server, to learn from the generated code what a service consists of."""

    name: str
    methods: Mapping[str, _MethodHandler]

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Called by the generated code; the registered handlers below say the same with names."""

    def add_registered_method_handlers(
        self, name: str, methods: Mapping[str, _MethodHandler]
    ) -> None:
        self.name, self.methods = name, methods


class _MethodHandler(Protocol):
    """What the generated code says of a method."""

    unary_unary: Callable[[Any, object], Awaitable[Any]] | None
    unary_stream: Callable[[Any, object], AsyncGenerator[Any, None]] | None
    request_deserializer: Callable[[bytes], Any]
    response_serializer: Callable[[Any], bytes]


def _unary(
    method: _MethodHandler, behaviour: Callable[[Any, object], Awaitable[Any]]
) -> Handler[bytes]:
    async def handle(call: Call, payload: bytes) -> bytes:
        request = _parse(method, call, payload)
        return method.response_serializer(await behaviour(request, call))

    return handle


def _streaming(
    method: _MethodHandler, behaviour: Callable[[Any, object], AsyncGenerator[Any, None]]
) -> Handler[None]:
    async def handle(call: Call, payload: bytes) -> None:
        assert call.write is not None  # noqa: S101  # whatever calls it knows that it streams
        request = _parse(method, call, payload)
        # However this ends, the generator's own cleaning up is done before.
        async with aclosing(behaviour(request, call)) as messages:
            async for message in messages:
                await call.write(method.response_serializer(message))

    return handle


def _parse(method: _MethodHandler, call: Call, payload: bytes) -> Any:
    try:
        return method.request_deserializer(payload)
    except DecodeError as error:
        raise InvalidArgument(
            f"the request of {call.method} can't be parsed ({error}); send the message that its "
            "contract names, with strings in UTF-8"
        ) from error


class GrpcServer:
    """Serves gRPC on one port.

    Args:
        settings: ports, certificate, limits and drain times.
        services: what to serve.

    Raises:
        StartError: the certificate can't be used.
    """

    def __init__(self, settings: ServiceSettings, services: Sequence[Service]) -> None:
        self._settings = settings
        self._certificate = tls.internal(settings)
        self._following: asyncio.Task[None] | None = None
        self._health_port: HealthPort | None = None
        self._address = f"{settings.bind_address}:{settings.grpc_port}"
        every = [service.handlers for service in services]
        handlers = Handlers(
            unary={name: handler for each in every for name, handler in each.unary.items()},
            streaming={name: handler for each in every for name, handler in each.streaming.items()},
        )
        self._sessions = UnarySessions(
            handlers.unary, settings.max_concurrent_calls, settings.max_message_bytes
        )
        self._stream_sessions = StreamSessions(
            handlers.streaming, settings.max_concurrent_calls, settings.max_message_bytes
        )
        self._health = Health()
        self._leaving = False
        self._names = ["", *(service.name for service in services)]
        self._server = grpc.aio.server(
            options=channels.server_options(settings.max_message_bytes),
            maximum_concurrent_rpcs=settings.max_concurrent_calls,
        )
        self._server.add_generic_rpc_handlers((GrpcCalls(handlers), self._dispatch_handler()))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (*self._names[1:], _DISPATCH, health.SERVICE_NAME, reflection.SERVICE_NAME),
            self._server,
        )
        self._server.add_generic_rpc_handlers((UnknownMethods(observe(refuse_unknown)),))

    def _dispatch_handler(self) -> grpc.GenericRpcHandler:
        handler = grpc.stream_stream_rpc_method_handler(
            cast(Any, self._sessions.serve),
            request_deserializer=dispatch_pb2.DispatchRequest.FromString,
            response_serializer=dispatch_pb2.DispatchResponse.SerializeToString,
        )
        streams = grpc.stream_stream_rpc_method_handler(
            cast(Any, self._stream_sessions.serve),
            request_deserializer=dispatch_pb2.StreamRequest.FromString,
            response_serializer=dispatch_pb2.StreamResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(
            _DISPATCH, {"Dispatch": handler, "Stream": streams}
        )

    async def start(self) -> None:
        """Opens the port and reports SERVING.

        Raises:
            StartError: another process listens there.
        """
        certificate = self._certificate
        credentials = tls.server_credentials(certificate) if certificate else None
        channels.listen(self._server, self._address, credentials, "grpc_port")
        if port := self._settings.health_port:
            self._health_port = HealthPort(self._health, f"{self._settings.bind_address}:{port}")
        if certificate:
            self._following = asyncio.create_task(certificate.watch())
        await self._server.start()
        await self._report(_SERVING)
        if self._health_port:
            await self._health_port.start()
        extra = {"address": self._address, "tls": certificate is not None}
        _log.info("serving gRPC", extra=extra)

    async def report_ready(self, ready: bool) -> None:
        """Reports SERVING or NOT_SERVING; a server that leaves stays NOT_SERVING."""
        if not self._leaving:
            await self._report(_SERVING if ready else _NOT_SERVING)

    async def leave(self) -> None:
        """Reports NOT_SERVING, so that callers turn elsewhere, and serves on."""
        self._leaving = True
        await self._report(_NOT_SERVING)

    async def stop(self, timeout_s: float) -> None:
        """Accepts no more, finishes what is in flight within `timeout_s`, then ends the rest."""
        self._sessions.drain()
        self._stream_sessions.drain()
        self._health.end_watches()
        await self._server.stop(timeout_s)
        if self._health_port:
            await self._health_port.stop()
        if self._following:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    async def _report(self, status: int) -> None:
        for name in self._names:
            await self._health.set(name, status)
