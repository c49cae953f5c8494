"""What a process knows of the request at hand: context variables, and metadata on the wire."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import NamedTuple
from urllib.parse import quote, unquote

from opentelemetry import trace

from meshkit import names, tracecontext
from meshkit.spans import Span


class RequestContext(NamedTuple):
    """Who asks, under which id. A tuple, since every request makes several.

    Attributes:
        request_id: the id on every log line, span and error of the request.
        key_id: the API key's public id; empty where the caller has none.
        tenant: the caller's tenant; empty where the caller has none.
        hops: how many processes of the mesh it has come through; 0 where it entered.
        reservation: of the tokens and the money that it may use; empty where nothing limits them.
    """

    request_id: str
    key_id: str = ""
    tenant: str = ""
    hops: int = 0
    reservation: str = ""


_current: ContextVar[RequestContext | None] = ContextVar("request", default=None)


def current() -> RequestContext | None:
    """The request at hand; None outside one."""
    return _current.get()


class scope:  # noqa: N801  # used as a function; a generator would take four times as long
    """Makes `request` the one at hand inside."""

    __slots__ = ("_request", "_token")

    def __init__(self, request: RequestContext) -> None:
        self._request = request

    def __enter__(self) -> RequestContext:
        self._token = _current.set(self._request)
        return self._request

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)


def to_metadata(span: Span | None = None) -> dict[str, str]:
    """The metadata that tells the next process about the request and the trace at hand.

    Args:
        span: the call itself; the current span by default.
    """
    metadata: dict[str, str] = {}
    if request := _current.get():
        metadata[names.REQUEST_ID] = request.request_id
        metadata[names.HOPS] = str(request.hops + 1)
        if request.key_id:
            metadata[names.KEY_ID] = _escaped(request.key_id)
        if request.tenant:
            metadata[names.TENANT] = _escaped(request.tenant)
        if request.reservation:
            metadata[names.RESERVATION] = request.reservation
    at_hand = span or trace.get_current_span()
    if isinstance(at_hand, Span):
        tracecontext.inject(metadata, at_hand)
    elif (others := at_hand.get_span_context()).is_valid:
        tracecontext.inject(metadata, others)
    return metadata


def from_metadata(metadata: Mapping[str, str]) -> RequestContext:
    """The request that came with `metadata`; the inverse of `to_metadata`."""
    return RequestContext(
        request_id=metadata.get(names.REQUEST_ID, ""),
        key_id=unquote(metadata.get(names.KEY_ID, "")),
        tenant=unquote(metadata.get(names.TENANT, "")),
        hops=_number(metadata.get(names.HOPS, "0")),
        reservation=metadata.get(names.RESERVATION, ""),
    )


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 4 else 0


def _escaped(name: str) -> str:
    """A name that people gave, as gRPC metadata can carry it: printable ASCII."""
    return name if name.isascii() and "%" not in name else quote(name, safe="")
