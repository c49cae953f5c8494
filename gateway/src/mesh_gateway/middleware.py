"""What every request passes through, as plain ASGI classes; `app.py` has their order.

Each costs a microsecond or so. The server hands nothing but HTTP requests to the application, so
none of them looks at the type of the scope.
"""

import re
from collections.abc import Mapping
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mesh_gateway import limit_headers, streaming
from mesh_gateway.departure import Departure
from mesh_gateway.exchange import Exchange, header
from mesh_gateway.problems import error_response
from mesh_gateway.request_ids import request_id_of
from meshkit import context, deadline, names
from meshkit.context import RequestContext
from meshkit.deadline import Deadline
from meshkit.errors import Cancelled, InvalidArgument, PayloadTooLarge

_MILLISECONDS: Final = re.compile(r"[1-9][0-9]{0,9}")


class RequestIds:
    """Gives a request an id: the caller's own where it is well-formed, else a new one.

    Every response says it in `x-request-id`, with what became known of the caller's limits; every
    log line inside has it. Here alone `send` is wrapped: what is inside has a say in the beginning
    of the response through `Exchange.at_start`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, and says its id."""
        exchange = Exchange.begin(scope)
        request_id = exchange.request_id = request_id_of(header(scope, names.REQUEST_ID))
        said = (names.REQUEST_ID.encode(), request_id.encode())

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                while exchange.at_start:
                    exchange.at_start.pop()(message)
                limits = limit_headers.fields(exchange.draft, exchange.decision)
                message["headers"] = [
                    *message.get("headers", ()),
                    said,
                    *((name.encode(), value.encode()) for name, value in limits),
                ]
            await send(message)

        with context.scope(RequestContext(request_id)):
            try:
                await self._app(scope, receive, send_with_id)
            finally:
                # Where no response began they still hold the exchange, which holds them.
                exchange.at_start.clear()


class Errors:
    """Renders whatever a request raises, in the form that its path has."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, whatever happens."""
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            if Exchange.of(scope).status:
                if isinstance(error, Cancelled):
                    return  # nobody is there: neither to be told, nor a fault to be logged
                raise  # the response has begun: the server can only break the connection off
            await error_response(error, scope)(scope, receive, send)


class Bounds:
    """Ends the work for a request when its time is over, or its caller goes away before that.

    The time is what `x-request-timeout-ms` says, or that of its route. A stream of events that has
    begun keeps to it by itself, to say so in its last event.

    Args:
        app: what must be done in time.
        by_path: seconds by path, or by its first part (`/v2`), where the caller does not say.
        default_s: seconds of every other path.
        most_s: seconds that nobody gets more of.
    """

    def __init__(
        self, app: ASGIApp, *, by_path: Mapping[str, float], default_s: float, most_s: float
    ) -> None:
        self._app = app
        self._by_path = by_path
        self._default_s = default_s
        self._most_s = most_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request in time, as long as its caller is there."""
        departure = Departure.of(scope)

        async def receive_from_caller() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise left()
            return message

        with (
            deadline.scope(Deadline.after(self._time_s(scope))),
            deadline.enforced() as enforced,
        ):

            def hand_over(message: Message) -> None:
                if streaming.CONTENT_TYPE in message.get("headers", ()):
                    enforced.release()

            Exchange.of(scope).at_start.append(hand_over)
            departure.then(lambda: enforced.end(left()))
            try:
                await self._app(scope, receive_from_caller, send)
            finally:
                departure.then(None)

    def _time_s(self, scope: Scope) -> float:
        path = scope["path"]
        usual_s = self._by_path.get(path) or self._of_first_part(path)
        return time_s(Exchange.of(scope), usual_s, self._most_s)

    def _of_first_part(self, path: str) -> float:
        first, _, _ = path.removeprefix("/").partition("/")
        return self._by_path.get(f"/{first}", self._default_s)


def time_s(exchange: Exchange, usual_s: float, most_s: float) -> float:
    """Seconds that a request may take.

    Args:
        exchange: the request.
        usual_s: where its caller does not say.
        most_s: whatever its caller says.

    Raises:
        InvalidArgument: it says something that is no time.
    """
    given = exchange.header(names.REQUEST_TIMEOUT_MS)
    return min(usual_s if given is None else _timeout_s(given), most_s)


def _timeout_s(text: str) -> float:
    if not _MILLISECONDS.fullmatch(text):
        raise InvalidArgument.of_field(
            names.REQUEST_TIMEOUT_MS,
            f"is {text[:32]!r}; send a whole number of milliseconds, 1 to 9999999999",
        )
    return int(text) / 1000


def left() -> Cancelled:
    """The error of a request whose caller has gone."""
    return Cancelled("the caller went away before the response was complete")


class BodyLimit:
    """Refuses a body over the limit: at once where its length is declared, else when it is reached.

    That of a response is declared, unless it is a stream of events, which has no limit here. The
    gateway's own pages, which need no key, are as large as they are.

    Args:
        app: what reads and sends bodies.
        most_bytes: the limit, either way.
    """

    def __init__(self, app: ASGIApp, *, most_bytes: int) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request whose body is within the limit, in a body that is."""
        exchange = Exchange.of(scope)

        def check(message: Message) -> None:
            size = _declared_bytes(message)
            if size > self._most_bytes and exchange.caller:
                raise too_large(
                    f"the response has {size} bytes", "ask for less at a time", self._most_bytes
                )

        exchange.at_start.append(check)
        declared = header(scope, "content-length")
        if declared is not None:  # the server lets no more pass than that
            if int(declared) > self._most_bytes:
                raise too_large(
                    f"the body is {declared} bytes", "send less at a time", self._most_bytes
                )
            await self._app(scope, receive, send)
            return
        read = 0

        async def limited_receive() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most_bytes:
                raise too_large("the body goes on", "send less at a time", self._most_bytes)
            return message

        await self._app(scope, limited_receive, send)


def too_large(found: str, remedy: str, most_bytes: int) -> PayloadTooLarge:
    """The error of a body over the limit.

    Args:
        found: how large it is.
        remedy: what to do.
        most_bytes: the limit.
    """
    return PayloadTooLarge(
        f"{found} and the limit is {most_bytes} bytes (MESH_MAX_MESSAGE_BYTES); {remedy}",
        metadata={"max_message_bytes": str(most_bytes)},
    )


def _declared_bytes(message: Message) -> int:
    """What a message of the application says of its body's length; 0 where it says nothing."""
    for name, value in message.get("headers", ()):
        if name == b"content-length":
            return int(value)
    return 0
