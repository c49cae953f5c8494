"""Requests that came whole, answered without ASGI.

A request of some hundred bytes comes in one read, and its answer leaves in one write. What ASGI
has for those that don't, a task's worth of messages, wrappers and events, costs as much as all that
the gateway does for the caller. What passes through here passes what every other request does
(`middleware.py`), in the same order.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from mesh_gateway import bodies, limit_headers
from mesh_gateway.exchange import Exchange
from mesh_gateway.middleware import left, time_s, too_large
from mesh_gateway.observe import Observer, Seen, parent, timing
from mesh_gateway.openapi import HotRoute, Operation
from mesh_gateway.problems import error_response
from mesh_gateway.readiness import Drain
from mesh_gateway.request_ids import request_id_of
from meshkit import context, deadline, names, spans
from meshkit.context import RequestContext
from meshkit.deadline import Deadline, enforced

Body: TypeAlias = Callable[[], Awaitable[bytes]]
Answer: TypeAlias = Callable[[Exchange, Body], Awaitable[bytes]]
"""Makes the JSON of a 200 from a request and its body; raises `MeshError` where it can't."""
_JSON_HEAD: Final = STATUS_LINE[200] + b"content-type: " + bodies.JSON.encode() + b"\r\n"
CLOSE: Final = b"connection: close\r\n"
"""The line of a head that says that the connection ends."""
_REQUEST_ID: Final = names.REQUEST_ID.encode()


class WholeRoute(HotRoute):
    """A hot route whose request and response are one JSON body each.

    Args:
        path: of the route, without parameters.
        answer: answers it.
        operation: for the document.
        timeout_s: seconds that a request may take where the caller does not say.
        app: answers what does not want one body, or does not come whole; None where the answer is
            the same.
    """

    def __init__(
        self,
        path: str,
        answer: Answer,
        operation: Operation,
        timeout_s: float,
        app: ASGIApp | None = None,
    ) -> None:
        super().__init__(path, app or _Asgi(answer), operation, timeout_s)
        self.answer = answer
        self.time_s = timeout_s

    def wants_whole(self, body: bytes) -> bool:
        """Whether a request surely wants one body."""
        return True


class _Asgi:
    """An answer as an application, for requests that come in pieces."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = partial(bodies.read, receive)
        await bodies.respond(send, await self._answer(Exchange.of(scope), body))


@dataclass(frozen=True, slots=True)
class Direct:
    """What direct answers are made with.

    Attributes:
        routes: by method and target, as they stand in a request.
        observer: told of every request.
        most_timeout_s: seconds that nobody gets more of.
        most_bytes: largest body, either way.
        drain: whether the server leaves.
    """

    routes: Mapping[tuple[bytes, bytes], WholeRoute]
    observer: Observer
    most_timeout_s: float
    most_bytes: int
    drain: Drain

    @classmethod
    def routes_of(cls, routes: Iterable[HotRoute]) -> Mapping[tuple[bytes, bytes], WholeRoute]:
        """Those that can be answered so, as `routes` has them."""
        return {
            (method.encode(), route.path.encode()): route
            for route in routes
            if isinstance(route, WholeRoute)
            for method in route.methods or ()
        }


class _NoEvent:
    """Stands where uvicorn tells its cycles of news, which nobody waits for here."""

    def set(self) -> None:
        """Does nothing."""


_NO_EVENT: Final = _NoEvent()


class DirectCycle:
    """One request, from its last byte to that of its response.

    It has the attributes that uvicorn's protocol looks for in its own cycles.

    Args:
        direct: how it is answered.
        route: what answers it.
        seen: the request, for who measures.
        body: of the request.
        connection: where it came from, and its response goes.
        keep_alive: whether that stays open.
    """

    __slots__ = (
        "_body",
        "_connection",
        "_direct",
        "_enforced",
        "_route",
        "_seen",
        "disconnected",
        "keep_alive",
        "message_event",
        "response_complete",
        "response_started",
    )

    def __init__(
        self,
        direct: Direct,
        route: WholeRoute,
        seen: Seen,
        body: bytes,
        connection: HttpToolsProtocol,
        *,
        keep_alive: bool,
    ) -> None:
        self._direct = direct
        self._route = route
        self._seen = seen
        self._body = body
        self._connection = connection
        self._enforced: enforced | None = None
        self.keep_alive = keep_alive
        self.message_event = _NO_EVENT
        self.disconnected = False
        self.response_started = False
        self.response_complete = False

    def leave(self) -> None:
        """Says that the caller is gone."""
        self.disconnected = True
        if self._enforced is not None:
            self._enforced.end(left())

    async def run_asgi(self, _: object) -> None:
        """Answers, under the name that uvicorn has for it."""
        # Requests behind this one have stopped that, and then nobody would see the caller leave.
        self._connection.flow.resume_reading()
        exchange = self._seen.exchange
        exchange.request_id = request_id_of(exchange.header(names.REQUEST_ID))
        with (
            context.scope(RequestContext(exchange.request_id)),
            spans.server(parent(exchange)) as span,
        ):
            try:
                await self._send(*await self._response())
            finally:
                exchange.at_start.clear()  # where no response began they hold what holds them
                if not self.response_complete:  # cancelled, as the process ends
                    self._connection.transport.close()
                self._direct.observer.record(self._seen, span)

    async def _response(self) -> tuple[bytes, bytes]:
        """The beginning of the head, and the body."""
        exchange, direct = self._seen.exchange, self._direct
        try:
            limit_s = time_s(exchange, self._route.time_s, direct.most_timeout_s)
            with deadline.scope(Deadline.after(limit_s)), enforced() as bound:
                self._enforced = bound
                if self.disconnected:
                    raise left()
                content = await self._route.answer(exchange, self._read)
            if len(content) > direct.most_bytes:
                raise too_large(
                    f"the response has {len(content)} bytes",
                    "ask for less at a time",
                    direct.most_bytes,
                )
        except Exception as error:  # noqa: BLE001  # whatever it is, the caller is told
            return self._failure(error)
        finally:
            self._enforced = None
        exchange.status = 200
        return _JSON_HEAD, content

    async def _read(self) -> bytes:
        return self._body

    def _failure(self, error: Exception) -> tuple[bytes, bytes]:
        scope: Scope = {"method": self._seen.method, "path": self._seen.path}
        self._seen.exchange.enter(scope)
        response: Response = error_response(error, scope)
        self._seen.exchange.status = response.status_code
        lines = [
            b"%b: %b\r\n" % header
            for header in response.raw_headers
            if header[0] != b"content-length"
        ]
        return STATUS_LINE[response.status_code] + b"".join(lines), bytes(response.body)

    async def _send(self, head: bytes, content: bytes) -> None:
        connection = self._connection
        if connection.flow.write_paused and not self.disconnected:
            await connection.flow.drain()
        if self.disconnected:
            self.response_complete = True
            return
        self.response_started = True
        if self._direct.drain.leaving:
            self.keep_alive = False
        exchange = self._seen.exchange
        connection.transport.write(
            b"%bcontent-length: %d\r\n%b%b%b: %b\r\n%b: %b\r\n%b\r\n%b"
            % (
                head,
                len(content),
                b"".join(b"%b: %b\r\n" % each for each in connection.server_state.default_headers),
                _told(exchange),
                _REQUEST_ID,
                exchange.request_id.encode(),
                *timing(exchange),
                b"" if self.keep_alive else CLOSE,
                content,
            )
        )
        self.response_complete = True
        if not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()


def _told(exchange: Exchange) -> bytes:
    """The lines of a head that say what became known of a request, and of its caller's limits."""
    message: Message = {"headers": []}
    while exchange.at_start:
        exchange.at_start.pop()(message)
    limits = limit_headers.fields(exchange.draft, exchange.decision)
    return b"".join(
        (
            *(b"%b: %b\r\n" % each for each in message["headers"]),
            *(f"{name}: {value}\r\n".encode() for name, value in limits),
        )
    )
