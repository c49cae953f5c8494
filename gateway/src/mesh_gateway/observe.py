"""The measurement of HTTP requests: a span, a metric, a line of the access log, `server-timing`."""

from typing import Final

from opentelemetry.trace import SpanContext
from opentelemetry.util.types import AttributeValue
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mesh_gateway.access_log import AccessLog, Line
from mesh_gateway.exchange import Exchange, header
from meshkit import names, spans, tracecontext
from meshkit.durations import Durations
from meshkit.redaction import redacted
from meshkit.spans import Span

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SCHEMES: Final = frozenset({"http", "https"})
_MOST_TEXT: Final = 256
_TRACEPARENT: Final = names.TRACEPARENT.encode()
_SERVER_TIMING: Final = names.SERVER_TIMING.encode()
_duration = Durations(
    names.HTTP_SERVER_DURATION,
    "Time from a request's arrival to the end of its response.",
    (
        names.HTTP_METHOD,
        names.URL_SCHEME,
        names.HTTP_ROUTE,
        names.HTTP_STATUS,
        names.ERROR_TYPE,
    ),
)


class Observe:
    """Measures a request.

    Args:
        app: what is measured.
        access_log: where lines go; None for no access log.
        quiet: routes that only leave a line when they fail.
    """

    def __init__(
        self, app: ASGIApp, *, access_log: AccessLog | None, quiet: frozenset[str] = frozenset()
    ) -> None:
        self._app = app
        self._access_log = access_log
        self._quiet = quiet

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, and measures it."""
        exchange = Exchange.of(scope)

        def note(message: Message) -> None:
            exchange.status = message["status"]
            message["headers"] = [*message.get("headers", ()), timing(exchange)]

        exchange.at_start.append(note)
        with spans.server(_parent(scope)) as span:
            try:
                await self._app(scope, receive, send)
            except Exception as error:
                spans.note_fault(error)
                raise
            finally:
                self._record(scope, exchange, span)

    def _record(self, scope: Scope, exchange: Exchange, span: Span) -> None:
        elapsed_s = exchange.elapsed_s
        route = getattr(scope.get("route"), "path", names.OTHER)
        # A response that never began is one that the server makes up itself, as a 500.
        status = exchange.status or 500
        # One that had begun may have been broken off, or have ended with an error for an event.
        error_type = str(status) if status >= 500 else span.fault
        fault = error_type is not None
        method = scope["method"] if scope["method"] in _METHODS else names.HTTP_METHOD_OTHER
        scheme = scope["scheme"] if scope["scheme"] in _SCHEMES else names.OTHER
        values = (method, scheme, route, status, error_type)
        wanted = span.wanted(fault=fault)
        _duration.record(elapsed_s, values, span.exemplar(wanted=wanted))
        if wanted:
            attributes: dict[str, AttributeValue] = {
                names.HTTP_METHOD: method,
                names.URL_SCHEME: scheme,
                names.HTTP_ROUTE: route,
                names.HTTP_STATUS: status,
                **_of_one(scope, exchange, method),
            }
            span.export(_name(method, route), elapsed_s, attributes, error_type)
        if self._access_log and not (route in self._quiet and status < 400):
            self._access_log.add(_line(scope, exchange, route, status, elapsed_s))


def _parent(scope: Scope) -> SpanContext | None:
    """The span that a request comes from, by its headers."""
    for name, _ in scope["headers"]:
        if name == _TRACEPARENT:
            parent, state = header(scope, names.TRACEPARENT), header(scope, names.TRACESTATE)
            return tracecontext.parse(parent, state)
    return None


def _name(method: str, route: str) -> str:
    """The name of a span, by the HTTP conventions: nothing in it comes from the caller."""
    verb = "HTTP" if method == names.HTTP_METHOD_OTHER else method
    return verb if route == names.OTHER else f"{verb} {route}"


def _of_one(scope: Scope, exchange: Exchange, method: str) -> dict[str, AttributeValue]:
    """Attributes that have too many values for a metric."""
    found: dict[str, AttributeValue] = {
        names.URL_PATH: redacted(scope["path"])[:_MOST_TEXT],
        names.MESH_REQUEST_ID: exchange.request_id,
    }
    if method == names.HTTP_METHOD_OTHER:
        found[names.HTTP_METHOD_ORIGINAL] = redacted(scope["method"])[:_MOST_TEXT]
    if exchange.caller:
        found[names.MESH_TENANT] = exchange.caller.tenant
    return found


def timing(exchange: Exchange) -> tuple[bytes, bytes]:
    """The header that says what the gateway took and what it waited for a service, in ms."""
    backend_ms = exchange.backend_s * 1000
    own_ms = exchange.elapsed_s * 1000 - backend_ms
    return _SERVER_TIMING, b"gateway;dur=%.3f, backend;dur=%.3f" % (own_ms, backend_ms)


def _line(scope: Scope, exchange: Exchange, route: str, status: int, elapsed_s: float) -> Line:
    client = scope.get("client")
    return Line.of(
        exchange,
        method=scope["method"],
        path=scope["path"],
        route=route,
        status=status,
        elapsed_s=elapsed_s,
        client=client[0] if client else None,
    )
