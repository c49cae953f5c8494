"""What happens around every call that a service answers, whichever way the call came in.

A call is bytes in and bytes out, so the same list serves a plain gRPC call, a frame of the dispatch
stream, and a call whose answer is a stream.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias, TypeVar

from opentelemetry.util.types import AttributeValue

from meshkit import context, deadline, names, spans, telemetry, tracecontext
from meshkit.context import RequestContext
from meshkit.deadline import Deadline
from meshkit.durations import Durations
from meshkit.errors import Code, InvalidArgument, MeshError
from meshkit.redaction import redacted
from meshkit.renderings import from_exception

_MOST_METHOD: Final = 256
_log = logging.getLogger(__name__)
_duration = Durations(
    names.RPC_SERVER_DURATION,
    "Time that a service took to answer a call.",
    (names.RPC_METHOD, names.RPC_STATUS, names.ERROR_TYPE),
    {names.RPC_SYSTEM: "grpc"},
)


class _InFlight:
    """How many calls of this process are not answered yet."""

    calls = 0


_in_flight = _InFlight()
telemetry.observed(
    names.CALLS_IN_FLIGHT,
    "{call}",
    "Calls that a service has and has not answered yet.",
    lambda: [(_in_flight.calls, {})],
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it came in.

    Attributes:
        method: full name, `package.Service/Method`; `names.RPC_OTHER` where none is served.
        metadata: gRPC metadata, or that of the dispatch frame; text values only.
        deadline: when the caller stops waiting; None when it did not say.
        write: sends one message of an answer that is a stream; waits while the caller reads slowly.
        trailing: metadata to be sent after the answer, where the way of the call has any.
        peer: address of the caller, as gRPC writes it; empty where it is not known.
        asked_for: the method as the caller wrote it, where none is served.
    """

    method: str
    metadata: Mapping[str, str]
    deadline: Deadline | None
    write: Callable[[bytes], Awaitable[None]] | None = None
    trailing: dict[str, str] = field(default_factory=dict)
    peer: str = ""
    asked_for: str | None = None


R = TypeVar("R")
Handler: TypeAlias = Callable[[Call, bytes], Awaitable[R]]
"""Answers a call: with bytes, or where the answer is a stream by `call.write` and with nothing."""


class Interceptor(Protocol):
    """Puts something around a handler."""

    def __call__(self, handler: Handler[R], /) -> Handler[R]:
        """The handler with it around."""


def observe(handler: Handler[R]) -> Handler[R]:
    """Continues the caller's trace, makes the request the one at hand, and measures the call."""

    async def observed(call: Call, payload: bytes) -> R:
        request = context.from_metadata(call.metadata)
        started_s = time.perf_counter()
        code = Code.CANCELLED
        with (
            context.scope(request),
            spans.server(tracecontext.from_metadata(call.metadata)) as span,
        ):
            _in_flight.calls += 1
            try:
                response = await handler(call, payload)
                code = Code.OK
                return response
            except MeshError as error:
                code = error.code
                raise
            finally:
                _in_flight.calls -= 1
                _record(call, request, span, code, time.perf_counter() - started_s)

    return observed


def _record(
    call: Call, request: RequestContext, span: spans.Span, code: Code, elapsed_s: float
) -> None:
    if code is Code.CANCELLED and call.deadline is not None and call.deadline.expired:
        # The caller, or gRPC for it, may give up a moment before the work does.
        code = Code.DEADLINE_EXCEEDED
    status = spans.CODE_NAMES[code]
    error_type = status if code in spans.FAULTS else None
    # To ask for what is not there is the caller's mistake, and would let strangers fill the queue.
    fault = error_type is not None and call.asked_for is None
    wanted = span.wanted(fault=fault)
    exemplar = span.exemplar(wanted=wanted)
    _duration.record(elapsed_s, (call.method, status, error_type), exemplar)
    if wanted:
        attributes: dict[str, AttributeValue] = {
            names.RPC_SYSTEM: "grpc",
            names.RPC_METHOD: call.method,
            names.RPC_STATUS: status,
            names.MESH_REQUEST_ID: request.request_id,
        }
        if request.tenant:
            attributes[names.MESH_TENANT] = request.tenant
        if call.asked_for is not None:
            attributes[names.RPC_METHOD_ORIGINAL] = redacted(call.asked_for)[:_MOST_METHOD]
        span.export(call.method, elapsed_s, attributes, error_type)


def translate_errors(handler: Handler[R]) -> Handler[R]:
    """Lets only errors through that a caller may see; a fault of ours goes to the log."""

    async def translated(call: Call, payload: bytes) -> R:
        try:
            return await handler(call, payload)
        except MeshError:
            raise
        except Exception as error:
            _log.exception("%s failed", call.method)
            raise from_exception(error) from error

    return translated


def enforce_deadline(handler: Handler[R]) -> Handler[R]:
    """Refuses a call without a deadline or past it, and ends the work when it passes."""

    async def enforced(call: Call, payload: bytes) -> R:
        if call.deadline is None:
            raise InvalidArgument(
                "the call has no deadline; set one (a timeout, in most gRPC clients)",
                reason="DEADLINE_MISSING",
            )
        with deadline.scope(call.deadline):
            call.deadline.check()
            return await deadline.enforce(handler(call, payload))

    return enforced


# Outermost first: the measurement sees the status that the caller sees, and a deadline that passes
# inside is rendered like any other error.
INTERCEPTORS: Sequence[Interceptor] = (observe, translate_errors, enforce_deadline)


def intercepted(
    handler: Handler[R], interceptors: Sequence[Interceptor] = INTERCEPTORS
) -> Handler[R]:
    """The handler with the interceptors around it, the first of them outermost."""
    for interceptor in reversed(interceptors):
        handler = interceptor(handler)
    return handler
