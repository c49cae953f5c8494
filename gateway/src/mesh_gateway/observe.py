"""The measurement of HTTP requests: a span, a metric, a line of the access log, `server-timing`."""

from typing import Final, NamedTuple

from opentelemetry.trace import SpanContext
from opentelemetry.util.types import AttributeValue
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mesh_gateway.access_log import AccessLog, Line
from mesh_gateway.exchange import Exchange
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


class Seen(NamedTuple):
    """What is told of a request. A tuple, since every request makes one.

    Attributes:
        exchange: what became known of it.
        method: HTTP's.
        scheme: `http` or `https`.
        path: what was asked for.
        route: the same from a closed set.
        client: address of the caller, where it is known.
    """

    exchange: Exchange
    method: str
    scheme: str
    path: str
    route: str
    client: str | None

    @classmethod
    def of(cls, scope: Scope) -> "Seen":
        """The request in `scope`."""
        client = scope.get("client")
        return cls(
            Exchange.of(scope),
            scope["method"],
            scope["scheme"],
            scope["path"],
            getattr(scope.get("route"), "path", names.OTHER),
            client[0] if client else None,
        )


class Observer:
    """Writes down what became of requests.

    Args:
        access_log: where lines go; None for no access log.
        quiet: routes that only leave a line when they fail.
    """

    def __init__(
        self, access_log: AccessLog | None, *, quiet: frozenset[str] = frozenset()
    ) -> None:
        self._access_log = access_log
        self._quiet = quiet

    def record(self, seen: Seen, span: Span) -> None:
        """Writes down a request that is over, and its span."""
        exchange, route = seen.exchange, seen.route
        elapsed_s = exchange.elapsed_s
        # A response that never began is one that the server makes up itself, as a 500.
        status = exchange.status or 500
        # One that had begun may have been broken off, or have ended with an error for an event.
        error_type = str(status) if status >= 500 else span.fault
        method = seen.method if seen.method in _METHODS else names.HTTP_METHOD_OTHER
        scheme = seen.scheme if seen.scheme in _SCHEMES else names.OTHER
        wanted = span.wanted(fault=error_type is not None)
        values = (method, scheme, route, status, error_type)
        _duration.record(elapsed_s, values, span.exemplar(wanted=wanted))
        if wanted:
            attributes: dict[str, AttributeValue] = {
                names.HTTP_METHOD: method,
                names.URL_SCHEME: scheme,
                names.HTTP_ROUTE: route,
                names.HTTP_STATUS: status,
                **_of_one(seen, method),
            }
            span.export(_name(method, route), elapsed_s, attributes, error_type)
        if self._access_log and not (route in self._quiet and status < 400):
            self._access_log.add(_line(seen, status, elapsed_s))


class Observe:
    """Measures a request.

    Args:
        app: what is measured.
        observer: writes down what became of it.
    """

    def __init__(self, app: ASGIApp, *, observer: Observer) -> None:
        self._app = app
        self._observer = observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, and measures it."""
        exchange = Exchange.of(scope)

        def note(message: Message) -> None:
            exchange.status = message["status"]
            message["headers"] = [*message.get("headers", ()), timing(exchange)]

        exchange.at_start.append(note)
        with spans.server(parent(exchange)) as span:
            try:
                await self._app(scope, receive, send)
            except Exception as error:
                spans.note_fault(error)
                raise
            finally:
                self._observer.record(Seen.of(scope), span)


def parent(exchange: Exchange) -> SpanContext | None:
    """The span that a request comes from, by its headers."""
    if _TRACEPARENT not in exchange.headers:
        return None
    return tracecontext.parse(exchange.header(names.TRACEPARENT), exchange.header(names.TRACESTATE))


def _name(method: str, route: str) -> str:
    """The name of a span, by the HTTP conventions: nothing in it comes from the caller."""
    verb = "HTTP" if method == names.HTTP_METHOD_OTHER else method
    return verb if route == names.OTHER else f"{verb} {route}"


def _of_one(seen: Seen, method: str) -> dict[str, AttributeValue]:
    """Attributes that have too many values for a metric."""
    found: dict[str, AttributeValue] = {
        names.URL_PATH: redacted(seen.path)[:_MOST_TEXT],
        names.MESH_REQUEST_ID: seen.exchange.request_id,
    }
    if method == names.HTTP_METHOD_OTHER:
        found[names.HTTP_METHOD_ORIGINAL] = redacted(seen.method)[:_MOST_TEXT]
    if seen.exchange.caller:
        found[names.MESH_TENANT] = seen.exchange.caller.tenant
    return found


def timing(exchange: Exchange) -> tuple[bytes, bytes]:
    """The header that says what the gateway took and what it waited for a service, in ms."""
    backend_ms = exchange.backend_s * 1000
    own_ms = exchange.elapsed_s * 1000 - backend_ms
    return _SERVER_TIMING, b"gateway;dur=%.3f, backend;dur=%.3f" % (own_ms, backend_ms)


def _line(seen: Seen, status: int, elapsed_s: float) -> Line:
    return Line.of(
        seen.exchange,
        method=seen.method,
        path=seen.path,
        route=seen.route,
        status=status,
        elapsed_s=elapsed_s,
        client=seen.client,
    )
