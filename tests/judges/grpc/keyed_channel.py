"""A channel that presents a key on every call, for stock clients that have no place for one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import grpc


class _Details(NamedTuple):
    """The details of a call, as grpcio wants them back from an interceptor."""

    method: str
    timeout: float | None
    metadata: list[tuple[str, str | bytes]]
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class _Key(grpc.UnaryUnaryClientInterceptor, grpc.StreamStreamClientInterceptor):
    def __init__(self, key: str) -> None:
        self._field = ("authorization", f"Bearer {key}")

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        return continuation(self._with_key(client_call_details), request)

    def intercept_stream_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        return continuation(self._with_key(client_call_details), request_iterator)

    def _with_key(self, call: Any) -> _Details:
        return _Details(
            method=call.method,
            timeout=call.timeout,
            metadata=[*(call.metadata or ()), self._field],
            credentials=call.credentials,
            wait_for_ready=call.wait_for_ready,
            compression=call.compression,
        )


def keyed(channel: grpc.Channel, key: str) -> grpc.Channel:
    """The same channel, with the key on every call."""
    return grpc.intercept_channel(channel, _Key(key))
