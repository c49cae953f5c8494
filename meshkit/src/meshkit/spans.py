"""Spans of requests and calls, at a cost that a request does not notice.

The sampler's decision falls when a trace begins, by its id, and everybody after keeps to it. A span
that was not sampled and ends in a fault is exported all the same, under the ids that the log and
the next process have been told; so a span is no more than ids until it ends, and is
only then made into what an exporter takes (docs/decisions/0006-sampling.md).
"""

from __future__ import annotations

import random
import time
from contextvars import Token
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceState
from opentelemetry.util.types import AttributeValue

from meshkit import names, tracecontext
from meshkit.errors import Code, MeshError

FAULTS: Final = frozenset(
    {
        Code.UNKNOWN,
        Code.DEADLINE_EXCEEDED,
        Code.UNIMPLEMENTED,
        Code.INTERNAL,
        Code.UNAVAILABLE,
        Code.DATA_LOSS,
    }
)
"""Codes that make a server's span an error, by the RPC conventions: a caller's mistakes do not."""

CODE_NAMES: Final = {code: code.name for code in Code}
"""To look a name up takes a tenth of the time that the enumeration needs to tell it."""

_SCOPE: Final = InstrumentationScope("meshkit")
_ERROR: Final = Status(StatusCode.ERROR)
_UNSET: Final = Status(StatusCode.UNSET)
_SPAN_ID_BITS: Final = 64
_LOW_BITS: Final = (1 << _SPAN_ID_BITS) - 1
# Of its own, so that no `random.seed` elsewhere makes two processes give the same ids.
_random: Final = random.Random()  # noqa: S311  # ids, not secrets


@dataclass(frozen=True, slots=True)
class Export:
    """Where spans go.

    Attributes:
        ratio: share of the traces begun here that is sampled.
        processor: takes the spans that are exported; None where none is.
        resource: what they say of the process.
    """

    ratio: float
    processor: SpanProcessor | None
    resource: Resource


class _Tracing:
    """The export of this process; none before `export_to`."""

    export = Export(0.0, None, Resource.get_empty())
    # A trace is sampled whose id is below it, as `TraceIdRatioBased` of the SDK decides.
    bound = 0


def export_to(export: Export) -> None:
    """Sends the spans that end from now on there."""
    _Tracing.export = export
    _Tracing.bound = round(export.ratio * (_LOW_BITS + 1))


def is_sampled(trace_id: int) -> bool:
    """Whether a trace that begins here is sampled; the same in every process with this ratio."""
    return trace_id & _LOW_BITS < _Tracing.bound


class Span(trace.NonRecordingSpan):
    """A request or a call from its beginning on. Inside `with` it is the current span.

    It shows itself to OpenTelemetry's API as a span that records nothing, so that spans of other
    libraries become its children.

    Args:
        kind: whether this process is asked or asks.
        parent: the span that it comes from; None where a trace begins.
    """

    trace_state: TraceState | None = None
    fault: str | None = None
    """What went wrong with it where its end does not show that: `note_fault` sets it."""
    _token: Token[Context] | None = None

    def __init__(self, kind: SpanKind, parent: SpanContext | Span | None) -> None:
        if parent is None:
            self.trace_id = _random.getrandbits(128) or 1
            self.trace_flags = tracecontext.RANDOM | is_sampled(self.trace_id)
        else:
            self.trace_id = parent.trace_id
            self.trace_flags = int(parent.trace_flags)
            self.trace_state = parent.trace_state
        self.span_id = _random.getrandbits(_SPAN_ID_BITS) or 1
        self.sampled = bool(self.trace_flags & tracecontext.SAMPLED)
        """Whether its trace is exported whatever comes of it."""
        self._kind = kind
        self._parent = parent

    def get_span_context(self) -> SpanContext:
        """Its ids, as OpenTelemetry's API has them; made when somebody asks, since that costs."""
        return self._with_flags(self.trace_flags)

    def __repr__(self) -> str:
        return f"Span({self.get_span_context()!r})"

    def __enter__(self) -> Self:
        self._token = otel_context.attach(trace.set_span_in_context(self))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if self._token is not None:
            otel_context.detach(self._token)

    def wanted(self, *, fault: bool) -> bool:
        """Whether it is exported when it ends: it is sampled, or ends in a fault."""
        return _Tracing.export.processor is not None and (fault or self.sampled)

    def exemplar(self, *, wanted: bool) -> SpanContext | None:
        """What a measurement of it can name as its example; None where nobody would find it."""
        return self.get_span_context() if wanted or self.sampled else None

    def export(
        self,
        name: str,
        elapsed_s: float,
        attributes: dict[str, AttributeValue],
        error_type: str | None,
    ) -> None:
        """Ends a span that is wanted.

        Args:
            name: what was done, from a closed set.
            elapsed_s: seconds since it began.
            attributes: what is known of it; `error.type` is added.
            error_type: what went wrong, from a closed set; None where nothing did.
        """
        export = _Tracing.export
        if export.processor is None:
            return
        parent, now_ns = self._parent, time.time_ns()
        if error_type is not None:
            attributes[names.ERROR_TYPE] = error_type
        export.processor.on_end(
            ReadableSpan(
                name,
                # Processors drop what is not marked as sampled.
                context=self._with_flags(self.trace_flags | tracecontext.SAMPLED),
                parent=parent.get_span_context() if isinstance(parent, Span) else parent,
                resource=export.resource,
                attributes=attributes,
                kind=self._kind,
                status=_UNSET if error_type is None else _ERROR,
                start_time=now_ns - int(elapsed_s * 1e9),
                end_time=now_ns,
                instrumentation_scope=_SCOPE,
            )
        )

    def _with_flags(self, flags: int) -> SpanContext:
        return SpanContext(
            self.trace_id, self.span_id, False, tracecontext.flags(flags), self.trace_state
        )


def note_fault(error: Exception) -> None:
    """Makes the current span one that ends in a fault, unless the error is the caller's mistake."""
    span = trace.get_current_span()
    if not isinstance(span, Span):
        return
    if not isinstance(error, MeshError):
        span.fault = type(error).__qualname__
    elif error.code in FAULTS:
        span.fault = CODE_NAMES[error.code]


def client() -> Span:
    """A call that the current span makes."""
    current = trace.get_current_span()
    if isinstance(current, Span):
        return Span(SpanKind.CLIENT, current)
    others = current.get_span_context()
    return Span(SpanKind.CLIENT, others if others.is_valid else None)


def server(parent: SpanContext | None) -> Span:
    """A request that comes from `parent`; None where a trace begins."""
    return Span(SpanKind.SERVER, parent)
