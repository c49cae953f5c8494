"""What a process knows of the request at hand: context variables, and metadata on the wire."""

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from meshkit import names


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Who asks, under which id.

    Attributes:
        request_id: the id on every log line, span and error of the request.
        key_id: the API key's public id; empty where the caller has none.
        tenant: the caller's tenant; empty where the caller has none.
        hops: how many processes of the mesh it has come through; 0 where it entered.
    """

    request_id: str
    key_id: str = ""
    tenant: str = ""
    hops: int = 0


_current: ContextVar[RequestContext | None] = ContextVar("request", default=None)
_propagator: Final = TraceContextTextMapPropagator()


def current() -> RequestContext | None:
    """The request at hand; None outside one."""
    return _current.get()


@contextlib.contextmanager
def scope(request: RequestContext) -> Iterator[RequestContext]:
    """Makes `request` the one at hand inside."""
    token = _current.set(request)
    try:
        yield request
    finally:
        _current.reset(token)


def to_metadata() -> dict[str, str]:
    """The metadata that tells the next process about the request and the trace at hand."""
    metadata: dict[str, str] = {}
    if request := _current.get():
        metadata[names.REQUEST_ID] = request.request_id
        metadata[names.HOPS] = str(request.hops + 1)
        if request.key_id:
            metadata[names.KEY_ID] = _escaped(request.key_id)
        if request.tenant:
            metadata[names.TENANT] = _escaped(request.tenant)
    if trace.get_current_span().get_span_context().is_valid:
        _propagator.inject(metadata)
    return metadata


def from_metadata(metadata: Mapping[str, str]) -> RequestContext:
    """The request that came with `metadata`; the inverse of `to_metadata`."""
    return RequestContext(
        request_id=metadata.get(names.REQUEST_ID, ""),
        key_id=unquote(metadata.get(names.KEY_ID, "")),
        tenant=unquote(metadata.get(names.TENANT, "")),
        hops=_number(metadata.get(names.HOPS, "0")),
    )


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 4 else 0


def _escaped(name: str) -> str:
    """A name that people gave, as gRPC metadata can carry it: printable ASCII."""
    return name if name.isascii() and "%" not in name else quote(name, safe="")


@contextlib.contextmanager
def remote_trace(metadata: Mapping[str, str]) -> Iterator[None]:
    """Continues the trace that came with `metadata`, where one came."""
    if names.TRACEPARENT not in metadata:
        yield
        return
    span = trace.get_current_span(_propagator.extract(metadata))
    with trace.use_span(span, record_exception=False, set_status_on_exception=False):
        yield
