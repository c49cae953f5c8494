"""What uvicorn leaves open on a connection: how much is read, for how long, and what is malformed.

What the parser takes and HTTP/1.1 does not, `http_framing.py` refuses. Beside the heads and the
bodies of requests nothing is large: not the trailers, not the lines between chunks. No request
waits behind many. What is malformed is refused in problems, after the answers to what came before.
"""

import asyncio
import urllib.parse
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, TypeAlias, cast

import httptools
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mesh_gateway import problems
from mesh_gateway.direct import CLOSE, Direct, DirectCycle, WholeRoute
from mesh_gateway.exchange import Exchange, joined
from mesh_gateway.http_cycle import Cycle
from mesh_gateway.http_framing import check_head, without_upgrade
from mesh_gateway.observe import Seen
from mesh_gateway.overload import refusal, refuse
from mesh_gateway.pace import Pace
from mesh_gateway.request_ids import request_id_of
from mesh_gateway.rounds import Rounds
from mesh_gateway.routes.probes import PROBES
from mesh_gateway.tls_transport import closing_in_time
from meshkit import names, telemetry
from meshkit.errors import InvalidArgument, MeshError, Overloaded

_Cycle: TypeAlias = Cycle | DirectCycle

# What a header costs beside its text, as HPACK reckons it (RFC 7541, section 4.1).
_HEADER_OVERHEAD_BYTES: Final = 32
# A read holds ten thousand small requests, each of which costs far more once it waits.
_MOST_WAITING: Final = 64
# Closing with bytes unread resets the connection, and a caller may lose its answer by that.
_LINGER_S: Final = 2.0
_refused = telemetry.counter(
    names.HTTP_REFUSED, "{connection}", "Connections that were refused before there was a request."
)


def protocol(
    direct: Direct, rounds: Rounds, most_head_bytes: int, head_timeout_s: float
) -> type[asyncio.Protocol]:
    """The protocol of every connection.

    Args:
        direct: answers requests that come whole.
        rounds: of the loop that connections are on.
        most_head_bytes: largest head, and most bytes in a row that belong to no body.
        head_timeout_s: most seconds from the beginning of a connection or request to the end of the
            head, and from an early answer to the end of the body.
    """
    limits = {
        "direct": direct,
        "callers": rounds.callers,
        "most_head_bytes": most_head_bytes,
        "head_timeout_s": head_timeout_s,
        "pace": Pace(rounds),
    }
    return type("_LimitedProtocol", (_Protocol,), limits)


class _Protocol(HttpToolsProtocol):
    """Bounds what is read, and refuses in problems.

    Two counts of a head's size, since the parser hands a header over only once it is complete: what
    the complete ones hold, and what has come in since.
    """

    direct: Direct
    callers: set[int]
    most_head_bytes: int
    head_timeout_s: float
    pace: Pace

    _descriptor: int
    _in_head = False
    _in_body = False
    _progress = 0
    _head_bytes = 0
    _received_bytes = 0
    _route: WholeRoute | None = None
    """Of a request that may still come whole."""
    _joined: Mapping[bytes, bytes]
    _body = b""
    _answering: _Cycle | None = None
    _fault: MeshError | None = None
    _refusal: MeshError | None = None
    _timer: asyncio.TimerHandle | None = None
    _rests_since_s: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        self._descriptor = transport.get_extra_info("socket").fileno()
        super().connection_made(closing_in_time(transport, self.loop))
        self._expect("HEADERS")

    def connection_lost(self, exc: Exception | None) -> None:
        self.callers.discard(self._descriptor)
        self._expect_nothing()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        if self._answering is not None:  # uvicorn tells the newest request only
            _end(self._answering)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        self._rests_since_s = None
        before = self._progress
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse(self._fault or _malformed("the request is not valid HTTP/1.1"))
            return
        if self._route is not None:
            self._begin_in_pieces()
        if self._in_head and self._timer is None:
            self._expect("HEADERS")
        # What made progress may have only its last bytes in this data; the next ones are all of
        # a head, or of what stands between the pieces of a body.
        if before == self._progress:
            self._received_bytes += len(data)
            if self._received_bytes > self.most_head_bytes:
                self._refuse(self._too_large())
                return
            self._keep_alive()

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as pause:
                # The parser takes what follows for another protocol. There is none, so the same
                # request is read again, without its wish: a body stays a body.
                head = without_upgrade(
                    self.parser.get_method(),
                    self.url,
                    self.parser.get_http_version(),
                    self.headers,
                )
                data = head + data[pause.args[0] :]

    def on_message_begin(self) -> None:
        self._in_body = False
        self._in_head = True
        self._begin_part()
        self._head_bytes = 0
        self._expect_nothing()
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body:  # trailers must not pass for headers (RFC 9110, section 6.5.1)
            super().on_header(name, value)
        self._count(len(name) + len(value) + _HEADER_OVERHEAD_BYTES)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self.most_head_bytes:
            self._stop(self._too_large())

    def on_headers_complete(self) -> None:
        method = self.parser.get_method()
        if fault := check_head(method, self.parser.get_http_version(), self.headers):
            self._stop(_malformed(fault))
        if len(self.pipeline) >= _MOST_WAITING:
            self._stop(
                Overloaded(
                    f"{_MOST_WAITING} requests wait on this connection; send the next ones after "
                    "their answers, or over other connections"
                )
            )
        self._in_head = False
        self._expect_nothing()
        if self.parser.should_upgrade():
            return  # it is read again
        self._in_body = True
        self._body = b""
        route = self.direct.routes.get((method, self.url))
        if route is not None and not self.expect_100_continue:
            self._joined = joined(self.headers)
            # A body of chunks may turn out malformed after its beginning.
            self._route = None if b"transfer-encoding" in self._joined else route
        if self._route is None:
            self._begin_cycle()

    def _begin_in_pieces(self, app: ASGIApp | None = None) -> None:
        """Begins a request whose body is not here yet, with what there is of it."""
        self._route = None
        self._begin_cycle(app)
        if self._body:
            super().on_body(self._body)

    def _begin_direct(self, route: WholeRoute) -> None:
        app = self._application(route.path)
        if app is refuse and not (self._busy or self.pipeline or self.flow.write_paused):
            self._refuse_whole(route)
            return
        too_large = len(self._body) > self.direct.most_bytes
        if app is refuse or too_large or not route.wants_whole(self._body):
            self._begin_in_pieces(app)
            super().on_message_complete()
            return
        self._route = None
        seen = Seen(
            Exchange("", self._joined),
            route.operation.method,
            self.scheme or "",
            route.path,
            route.path,
            self.client[0] if self.client else None,
        )
        cycle = DirectCycle(
            self.direct, route, seen, self._body, self, keep_alive=self._keeps_open()
        )
        self._begin(cycle, app)

    def _refuse_whole(self, route: WholeRoute) -> None:
        """Refuses a request at once, for a fraction of what a cycle costs."""
        self._route = None
        given = self._joined.get(names.REQUEST_ID.encode(), b"").decode("latin-1")
        keep_alive = self._keeps_open() and not self.direct.drain.leaving
        headers = [b"%b: %b\r\n" % each for each in self.server_state.default_headers]
        headers += [] if keep_alive else [CLOSE]
        self.transport.write(refusal(route.path, request_id_of(given), b"".join(headers)))
        if not keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _begin_cycle(self, app: ASGIApp | None = None) -> None:
        """What uvicorn does with a head that is complete, with a cycle of our own."""
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        if "%" in path:
            path = urllib.parse.unquote(path)
        self.scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": self.parser.get_http_version(),
            "server": self.server,
            "client": self.client,
            "scheme": cast(Any, self.scheme),
            "root_path": "",
            "headers": self.headers,
            "state": self.app_state.copy(),
            "method": self.parser.get_method().decode("ascii"),
            "path": path,
            "raw_path": url.path,
            "query_string": url.query or b"",
        }
        cycle = Cycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=self._keeps_open(),
            on_response=self.on_response_complete,
        )
        self._begin(cycle, app or self._application(path))

    def _keeps_open(self) -> bool:
        return self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()

    def _application(self, path: str) -> ASGIApp:
        """What answers a request: the application, or a refusal where there is no time for it."""
        if path in PROBES or self.pace.admits():
            return cast(ASGIApp, self.app)
        _refused.add(1, {names.REFUSAL: Overloaded.default_reason})
        return refuse

    def _begin(self, cycle: _Cycle, app: ASGIApp) -> None:
        """Begins a request, or has it wait for the one ahead of it on this connection."""
        ahead = cast(_Cycle | None, self.cycle)
        self.cycle = cast(Any, cycle)
        if ahead is None or ahead.response_complete:
            self._start_asgi_task(cycle, app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft(cast(Any, (cycle, app)))

    def on_body(self, body: bytes) -> None:
        self._begin_part()
        if self._route is not None:
            self._body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._in_body:
            self._in_body = False
            self._begin_part()
            self._expect_nothing()
            if self._route is not None:
                self._begin_direct(self._route)
            else:
                super().on_message_complete()

    def on_response_complete(self) -> None:
        """Begins the next request, which may be there already, or rests."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cast(_Cycle, cycle), app)
            return
        if self._refusal is not None:
            self._answer(self._refusal)
        elif self._in_body:
            self._expect("BODY")
        self._rest()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._answering = cycle
        at_once = app is refuse or (isinstance(cycle, Cycle) and cycle.scope["path"] in PROBES)
        if at_once or self.pace.begins():
            super()._start_asgi_task(cycle, app)
        else:
            self.pace.wait(partial(super()._start_asgi_task, cycle, app))

    @property
    def _busy(self) -> bool:
        return self._answering is not None and not self._answering.response_complete

    def _begin_part(self) -> None:
        self._progress += 1
        self._received_bytes = 0

    def _keep_alive(self) -> None:
        """Bounds an idle connection again, where what came in was no request."""
        if self._answering is not None and not self._busy and self._timer is None:
            self._rest()

    def _rest(self) -> None:
        """Bounds the time until the next request. The timer goes on when that comes, and finds out.

        To cancel it and begin another for every request would cost more.
        """
        self._rests_since_s = self.loop.time()
        if self.timeout_keep_alive_task is None and not self.transport.is_closing():
            self._rest_for(self.timeout_keep_alive)

    def _rest_for(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def timeout_keep_alive_handler(self) -> None:
        """Closes a connection that has rested for too long."""
        self.timeout_keep_alive_task = None
        if self._rests_since_s is None:
            return
        left_s = self._rests_since_s + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self._rest_for(left_s)
        else:
            self.transport.close()

    def _expect(self, what: str) -> None:
        self._expect_nothing()
        self._timer = self.loop.call_later(self.head_timeout_s, self._is_late, what)

    def _expect_nothing(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_late(self, what: str) -> None:
        if self._busy:
            # A pipelined request: its bytes are not read before the one ahead is answered.
            self._expect(what)
            return
        _refused.add(1, {names.REFUSAL: f"{what}_LATE"})
        self.transport.close()

    def _too_large(self) -> MeshError:
        return InvalidArgument(
            "the request line, headers, trailers or chunk extensions are over "
            f"{self.most_head_bytes} bytes (MESH_GATEWAY_MAX_HEADER_BYTES); send less",
            reason="HEADERS_TOO_LARGE",
        )

    def _stop(self, fault: MeshError) -> None:
        """Stops the parser, from inside one of its callbacks."""
        self._fault = fault
        raise fault

    def _refuse(self, error: MeshError) -> None:
        """Reads no more, since what follows can't be trusted, and answers when it is its turn."""
        _refused.add(1, {names.REFUSAL: error.reason})
        self._refusal = error
        self._expect_nothing()
        if self._in_body and self.pipeline:
            self.pipeline.popleft()  # the newest
        elif self._in_body and self._answering is not None:
            if self._answering.response_started:
                self.transport.close()
                return
            _end(self._answering)
            self._answer(error)
            return
        if not self._busy:
            self._answer(error)

    def _answer(self, error: MeshError) -> None:
        """Answers without the application, and closes once the caller has had time to read it."""
        self.transport.write(problems.last_response(error))
        self.transport.write_eof()
        self.flow.resume_reading()
        self._timer = self.loop.call_later(_LINGER_S, self.transport.close)


def _malformed(what: str) -> MeshError:
    return InvalidArgument(f"{what}; send HTTP/1.1 as RFC 9112 has it", reason="MALFORMED_HTTP")


def _end(cycle: _Cycle) -> None:
    """Tells who answers that nobody waits for it."""
    if not cycle.response_complete:
        cycle.leave()
