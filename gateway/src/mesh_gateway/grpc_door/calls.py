"""What happens around every call of the gRPC door; the HTTP door's middleware does the same."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeAlias, TypeVar

from mesh_gateway import limit_headers
from mesh_gateway.access_log import AccessLog, Line
from mesh_gateway.admission import Admission, Passage, Takes, Target
from mesh_gateway.auth import presented_key
from mesh_gateway.caller import Caller
from mesh_gateway.exchange import Exchange
from mesh_gateway.request_ids import request_id_of
from meshkit import names
from meshkit.deadline import Deadline
from meshkit.errors import Code, MeshError, PayloadTooLarge
from meshkit.interceptors import (
    Call,
    Handler,
    Interceptor,
    enforce_deadline,
    intercepted,
    observe,
    translate_errors,
)
from meshkit.renderings import HTTP_BY_CODE, http_status

R = TypeVar("R")
Work: TypeAlias = Callable[[Call, bytes], Awaitable[R]]
_AUTHORIZATION = "authorization"


@dataclass(frozen=True, slots=True)
class Way(Generic[R]):
    """Where a call goes.

    Attributes:
        target: what it does there, for admission.
        work: by who asks for it, the work; it is done with the deadline at hand.
        takes: when what limits requests is taken.
    """

    target: Target
    work: Callable[[Caller, Passage], Work[R]]
    takes: Takes = Takes.BEFORE

    @classmethod
    def of(cls, target: Target, work: Work[R], takes: Takes = Takes.BEFORE) -> "Way[R]":
        """A way whose work is the same for every caller."""
        return cls(target, lambda caller, passage: work, takes)


Route: TypeAlias = Callable[[bytes], Way[R]]
"""Finds the way of a call by its request.

Raises:
    MeshError: there is none.
"""


@dataclass(frozen=True, slots=True)
class Entrance:
    """What every call of the door passes.

    Attributes:
        admission: lets callers in.
        access_log: where lines go; None for no access log.
        default_timeout_s: seconds of a call whose caller gives no deadline.
        most_timeout_s: seconds that nobody gets more of.
        most_bytes: largest message, either way.
    """

    admission: Admission
    access_log: AccessLog | None
    default_timeout_s: float
    most_timeout_s: float
    most_bytes: int

    def admitted(self, route: Route[R]) -> Handler[R]:
        """The handler of a method that callers must be admitted to.

        Args:
            route: finds what a call of it does.
        """

        async def handle(call: Call, payload: bytes) -> R:
            exchange = Exchange(request_id_of(call.metadata.get(names.REQUEST_ID)))

            async def admit(inner: Call, payload: bytes) -> R:
                presented = presented_key(
                    call.metadata.get(_AUTHORIZATION), call.metadata.get(names.API_KEY)
                )
                try:
                    self.check_size("request", payload)
                    way = route(payload)
                except MeshError:
                    # Strangers are not told what is wrong with their requests.
                    await self.admission.identify(presented, exchange)
                    raise
                async with self.admission.admit(
                    presented, way.target, exchange, way.takes
                ) as caller:
                    with exchange.calling():
                        return await way.work(caller, exchange)(inner, payload)

            return await self._observed(exchange, admit, call, payload)

        return handle

    def open(self, work: Work[R]) -> Handler[R]:
        """The handler of a method that everybody may call."""

        async def handle(call: Call, payload: bytes) -> R:
            exchange = Exchange(request_id_of(call.metadata.get(names.REQUEST_ID)))
            return await self._observed(exchange, work, call, payload)

        return handle

    async def _observed(
        self, exchange: Exchange, handler: Handler[R], call: Call, payload: bytes
    ) -> R:
        # Outermost first: the line in the log has the trace, and sees the status that the caller
        # sees.
        order = (observe, self._noted(exchange), translate_errors, enforce_deadline)
        return await intercepted(handler, order)(self._clean(call, exchange), payload)

    def check_size(self, what: str, payload: bytes) -> None:
        """Refuses a message over the limit.

        Raises:
            PayloadTooLarge: it is.
        """
        if len(payload) > self.most_bytes:
            raise PayloadTooLarge(
                f"the {what} has {len(payload)} bytes and the limit is {self.most_bytes} "
                "(MESH_MAX_MESSAGE_BYTES); ask for less at a time",
                metadata={"max_message_bytes": str(self.most_bytes)},
            )

    def _clean(self, call: Call, exchange: Exchange) -> Call:
        """The call without what only the gateway may say, and with a deadline."""
        asked_s = call.deadline.remaining_s if call.deadline else self.default_timeout_s
        return replace(
            call,
            metadata={names.REQUEST_ID: exchange.request_id, **_trace(call.metadata)},
            deadline=Deadline.after(min(asked_s, self.most_timeout_s)),
        )

    def _noted(self, exchange: Exchange) -> Interceptor:
        """Tells the caller of its id and its limits, and the access log of the call."""

        def noted(handler: Handler[R]) -> Handler[R]:
            async def note(call: Call, payload: bytes) -> R:
                status = HTTP_BY_CODE[Code.CANCELLED]
                try:
                    answer = await handler(call, payload)
                    status = HTTP_BY_CODE[Code.OK]
                    return answer
                except MeshError as error:
                    status = http_status(error)
                    raise
                finally:
                    call.trailing[names.REQUEST_ID] = exchange.request_id
                    call.trailing.update(limit_headers.fields(exchange.draft, exchange.decision))
                    if self.access_log:
                        self.access_log.add(_line(exchange, call, status))

            return note

        return noted


def _trace(metadata: Mapping[str, str]) -> dict[str, str]:
    return {
        name: metadata[name] for name in (names.TRACEPARENT, names.TRACESTATE) if name in metadata
    }


def _line(exchange: Exchange, call: Call, status: int) -> Line:
    return Line.of(
        exchange,
        method="GRPC",
        path=call.asked_for or call.method,
        route=call.method,
        status=status,
        elapsed_s=exchange.elapsed_s,
        client=call.peer or None,
    )
