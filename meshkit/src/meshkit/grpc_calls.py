"""Plain gRPC calls as bytes through handlers: for every server of the mesh."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NoReturn, TypeAlias, cast

import grpc

from meshkit import names
from meshkit.deadline import Deadline
from meshkit.errors import MeshError, Unimplemented
from meshkit.interceptors import Call, Handler
from meshkit.renderings import to_status

_Method: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"
Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
_STATUS_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class Handlers:
    """The methods of a server, by their full names (`package.Service/Method`).

    Attributes:
        unary: those that answer with one message.
        streaming: those whose answer is a stream.
    """

    unary: Mapping[str, Handler[bytes]]
    streaming: Mapping[str, Handler[None]]


class GrpcCalls(grpc.GenericRpcHandler):
    """Plain gRPC calls of handlers.

    Args:
        handlers: of the methods.
    """

    def __init__(self, handlers: Handlers) -> None:
        unary: dict[str, _Method] = {
            f"/{name}": grpc.unary_unary_rpc_method_handler(cast(Any, _answer(name, handler)))
            for name, handler in handlers.unary.items()
        }
        streaming: dict[str, _Method] = {
            f"/{name}": grpc.unary_stream_rpc_method_handler(cast(Any, _stream(name, handler)))
            for name, handler in handlers.streaming.items()
        }
        self._methods = unary | streaming

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> _Method | None:
        """The handler of a call; None where there is none."""
        return self._methods.get(handler_call_details.method)


class UnknownMethods(grpc.GenericRpcHandler):
    """Calls of methods that no other handler of a server has; to be the last of its handlers.

    gRPC itself would refuse them without a word in the log, the metrics and the traces.

    Args:
        refuse: answers them with an error; sees `names.RPC_OTHER` for the method.
    """

    def __init__(self, refuse: Handler[bytes]) -> None:
        self._refuse = refuse

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> _Method:
        """The handler of a call; the caller may send one message or many, none is read."""
        asked_for = str(handler_call_details.method).removeprefix("/")

        async def answer(_: object, context: Context) -> None:
            call = replace(_call(names.RPC_OTHER, context), asked_for=asked_for)
            try:
                await self._refuse(call, b"")
            except MeshError as error:
                await abort(context, error, call.trailing)

        return grpc.stream_stream_rpc_method_handler(cast(Any, answer))


async def refuse_unknown(call: Call, payload: bytes) -> bytes:
    """Refuses a call of a method that is not served.

    Raises:
        Unimplemented: always.
    """
    raise Unimplemented(
        f"there is no method {call.asked_for!r}; server reflection lists those that there are"
    )


def _answer(method: str, handler: Handler[bytes]) -> Callable[[bytes, Context], Awaitable[bytes]]:
    async def answer(payload: bytes, context: Context) -> bytes:
        call = _call(method, context)
        try:
            response = await handler(call, payload)
        except MeshError as error:
            await abort(context, error, call.trailing)
        _send_trailing(context, call)
        return response

    return answer


def _stream(method: str, handler: Handler[None]) -> Callable[[bytes, Context], Awaitable[None]]:
    async def answer(payload: bytes, context: Context) -> None:
        async def write(message: bytes) -> None:
            try:
                await context.write(message)
            except grpc.aio.InternalError:
                # The caller has left, and its connection with it: nobody's fault.
                raise asyncio.CancelledError from None

        call = _call(method, context, write=write)
        try:
            await handler(call, payload)
        except MeshError as error:
            await abort(context, error, call.trailing)
        _send_trailing(context, call)

    return answer


def _call(
    method: str, context: Context, write: Callable[[bytes], Awaitable[None]] | None = None
) -> Call:
    left_s: float | None = cast(Any, context).time_remaining()
    return Call(
        method=method,
        metadata=metadata_of(context),
        deadline=None if left_s is None else Deadline.after(left_s),
        write=write,
        peer=context.peer(),
    )


def metadata_of(context: grpc.aio.ServicerContext[Any, Any]) -> dict[str, str]:
    """The metadata of a call; text values only, and of each name the last.

    `tracestate` alone is a list, which may come in parts (W3C Trace Context, section 3.3.1).
    """
    pairs: Any = context.invocation_metadata()
    metadata = {key: value for key, value in pairs if isinstance(value, str)}
    if names.TRACESTATE in metadata:
        metadata[names.TRACESTATE] = ",".join(
            value for key, value in pairs if key == names.TRACESTATE
        )
    return metadata


def _send_trailing(context: Context, call: Call) -> None:
    if call.trailing:
        context.set_trailing_metadata(cast(Any, tuple(call.trailing.items())))


async def abort(
    context: grpc.aio.ServicerContext[Any, Any],
    error: MeshError,
    trailing: Mapping[str, str] | None = None,
) -> NoReturn:
    """Ends a call with an error and its details.

    Args:
        context: of the call.
        error: what went wrong.
        trailing: further metadata.
    """
    metadata: list[tuple[str, str | bytes]] = [
        *(trailing or {}).items(),
        (names.STATUS_DETAILS, to_status(error).SerializeToString()),
    ]
    if error.retryable:
        # gRPC's own retries read this one and not RetryInfo.
        delay_ms = str(round((error.retry_delay_s or 0) * 1000))
        metadata.append((names.RETRY_PUSHBACK_MS, delay_ms.encode()))
    code = _STATUS_CODES[int(error.code)]
    try:
        await context.abort(code, error.message, cast(Any, tuple(metadata)))
    except grpc.aio.InternalError:
        # The call has ended meanwhile, by its deadline or its caller: nobody is there to be told.
        raise asyncio.CancelledError from None
    raise AssertionError("abort returned") from error
