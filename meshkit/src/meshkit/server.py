"""A service's gRPC server: its methods, the dispatch stream over them, health, and the drain."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from mesh.dispatch.v1 import dispatch_pb2
from meshkit import channels, names
from meshkit.deadline import Deadline
from meshkit.dispatch import Sessions
from meshkit.errors import InvalidArgument, MeshError, StartError
from meshkit.interceptors import Call, Handler, intercepted
from meshkit.renderings import to_status
from meshkit.settings import ServiceSettings

_log = logging.getLogger(__name__)
_DISPATCH = "mesh.dispatch.v1.DispatchService"
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Service:
    """One gRPC service: the generated function that adds it to a server, and its servicer.

    The servicer's methods are coroutines of the request and an unused context; deadline, caller and
    request id are context variables, and errors are raised as `MeshError`.
    """

    def __init__(self, add_to_server: Callable[[Any, Any], None], servicer: object) -> None:
        registrar = _Registrar()
        add_to_server(servicer, registrar)
        self.name = registrar.name
        self.handlers: Mapping[str, Handler] = {
            f"{registrar.name}/{method}": intercepted(_unary(handler))
            for method, handler in registrar.methods.items()
        }


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
    request_deserializer: Callable[[bytes], Any]
    response_serializer: Callable[[Any], bytes]


def _unary(method: _MethodHandler) -> Handler:
    behaviour = method.unary_unary
    if behaviour is None:
        raise TypeError("a service's methods must be unary")

    async def handle(call: Call, payload: bytes) -> bytes:
        try:
            request = method.request_deserializer(payload)
        except DecodeError as error:
            raise InvalidArgument(
                f"the request of {call.method} can't be parsed ({error}); send the message that "
                "its contract names, with strings in UTF-8"
            ) from error
        return method.response_serializer(await behaviour(request, call))

    return handle


class GrpcServer:
    """Serves gRPC on one port.

    Args:
        settings: port, limits and drain times.
        services: what to serve.
    """

    def __init__(self, settings: ServiceSettings, services: Sequence[Service]) -> None:
        self._settings = settings
        self._address = f"{settings.bind_address}:{settings.grpc_port}"
        handlers = {name: h for service in services for name, h in service.handlers.items()}
        self._sessions = Sessions(handlers, settings.max_concurrent_calls)
        self._health = _Health()
        self._names = ["", *(service.name for service in services)]
        self._server = grpc.aio.server(
            options=channels.server_options(settings.max_message_bytes),
            maximum_concurrent_rpcs=settings.max_concurrent_calls,
        )
        self._server.add_generic_rpc_handlers((_UnaryCalls(handlers), self._dispatch_handler()))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (*self._names[1:], _DISPATCH, health.SERVICE_NAME, reflection.SERVICE_NAME),
            self._server,
        )

    def _dispatch_handler(self) -> grpc.GenericRpcHandler:
        handler = grpc.stream_stream_rpc_method_handler(
            cast(Any, self._sessions.serve),
            request_deserializer=dispatch_pb2.DispatchRequest.FromString,
            response_serializer=dispatch_pb2.DispatchResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(_DISPATCH, {"Dispatch": handler})

    async def start(self) -> None:
        """Opens the port and reports SERVING.

        Raises:
            StartError: another process listens there.
        """
        try:
            self._server.add_insecure_port(self._address)
        except RuntimeError as error:
            raise StartError(
                f"can't listen on {self._address}: another process has the port, or the address "
                "is not this machine's; free it or set another grpc_port"
            ) from error
        await self._server.start()
        await self._report(_SERVING)
        _log.info("serving gRPC", extra={"address": self._address})

    async def leave(self) -> None:
        """Reports NOT_SERVING, so that callers turn elsewhere, and serves on."""
        await self._report(_NOT_SERVING)

    async def stop(self, timeout_s: float) -> None:
        """Accepts no more, finishes what is in flight within `timeout_s`, then ends the rest."""
        self._sessions.drain()
        self._health.end_watches()
        await self._server.stop(timeout_s)

    async def _report(self, status: int) -> None:
        for name in self._names:
            await self._health.set(name, status)


class _UnaryCalls(grpc.GenericRpcHandler):
    """Plain unary calls of every method, as bytes through the interceptors."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            f"/{name}": grpc.unary_unary_rpc_method_handler(cast(Any, _answer(name, handler)))
            for name, handler in handlers.items()
        }

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        return self._methods.get(handler_call_details.method)


def _answer(
    method: str, handler: Handler
) -> Callable[[bytes, grpc.aio.ServicerContext[bytes, bytes]], Awaitable[bytes]]:
    async def answer(payload: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        call = Call(
            method=method,
            metadata=dict(_text(context.invocation_metadata())),
            deadline=_deadline(context),
        )
        try:
            return await handler(call, payload)
        except MeshError as error:
            status = to_status(error)
            trailing = [(names.STATUS_DETAILS, status.SerializeToString())]
            if error.retryable:
                # gRPC's own retries read this one and not RetryInfo.
                delay_ms = str(round((error.retry_delay_s or 0) * 1000))
                trailing.append((names.RETRY_PUSHBACK_MS, delay_ms.encode()))
            await context.abort(
                _STATUS_CODES[int(error.code)], error.message, cast(Any, tuple(trailing))
            )
            raise AssertionError("abort returned") from error

    return answer


def _deadline(context: Any) -> Deadline | None:
    left_s: float | None = context.time_remaining()
    return None if left_s is None else Deadline.after(left_s)


_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


def _text(metadata: Any) -> Iterator[tuple[str, str]]:
    for key, value in metadata:
        if isinstance(value, str):
            yield key, value


class _Health(health.aio.HealthServicer):
    """The standard health service, whose watches can be ended: they would hold the stop."""

    def __init__(self) -> None:
        super().__init__()
        self._ended = asyncio.Event()

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: N802
        # A handler that is cancelled leaves its call open, so the watch is one task and its end
        # another.
        watch = asyncio.ensure_future(super().Watch(request, context))
        end = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait([watch, end], return_when=asyncio.FIRST_COMPLETED)
            if watch.done():
                await watch
        finally:
            watch.cancel()
            end.cancel()
            await asyncio.gather(watch, end, return_exceptions=True)

    def end_watches(self) -> None:
        """Ends every open Watch."""
        self._ended.set()
