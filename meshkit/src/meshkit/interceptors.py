"""What happens around every call that a service answers, whichever way the call came in.

A call is bytes in and bytes out, so the same list serves a plain gRPC call, a frame of the dispatch
stream, and a call whose answer is a stream.
"""

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, TypeVar

from opentelemetry import trace

from meshkit import context, deadline, names, telemetry
from meshkit.deadline import Deadline
from meshkit.errors import Code, InvalidArgument, MeshError
from meshkit.renderings import from_exception

_log = logging.getLogger(__name__)
_duration = telemetry.histogram(
    names.RPC_SERVER_DURATION, "s", "Time that a service took to answer a call."
)
# Codes that make the server's span an error, by the RPC conventions: the caller's mistakes do not.
_FAULTS = frozenset(
    {
        Code.UNKNOWN,
        Code.DEADLINE_EXCEEDED,
        Code.UNIMPLEMENTED,
        Code.INTERNAL,
        Code.UNAVAILABLE,
        Code.DATA_LOSS,
    }
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it came in.

    Attributes:
        method: full name, `package.Service/Method`.
        metadata: gRPC metadata, or that of the dispatch frame; text values only.
        deadline: when the caller stops waiting; None when it did not say.
        write: sends one message of an answer that is a stream; waits while the caller reads slowly.
        trailing: metadata to be sent after the answer, where the way of the call has any.
        peer: address of the caller, as gRPC writes it; empty where it is not known.
    """

    method: str
    metadata: Mapping[str, str]
    deadline: Deadline | None
    write: Callable[[bytes], Awaitable[None]] | None = None
    trailing: dict[str, str] = field(default_factory=dict)
    peer: str = ""


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
        with (
            context.scope(request),
            context.remote_trace(call.metadata),
            _measured(call) as outcome,
        ):
            try:
                response = await handler(call, payload)
            except MeshError as error:
                outcome.code = error.code
                raise
            outcome.code = Code.OK
            return response

    return observed


class _Outcome:
    """How a call ended; cancelled unless something else is said."""

    code = Code.CANCELLED


@contextlib.contextmanager
def _measured(call: Call) -> Iterator[_Outcome]:
    attributes = {names.RPC_SYSTEM: "grpc", names.RPC_METHOD: call.method}
    outcome = _Outcome()
    started = time.perf_counter()
    with telemetry.tracer.start_as_current_span(
        call.method,
        kind=trace.SpanKind.SERVER,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield outcome
        finally:
            attributes[names.RPC_STATUS] = outcome.code.name
            _duration.record(time.perf_counter() - started, attributes)
            span.set_attribute(names.RPC_STATUS, outcome.code.name)
            if outcome.code in _FAULTS:
                span.set_status(trace.StatusCode.ERROR)


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
