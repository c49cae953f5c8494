"""A collector that speaks OTLP over gRPC, and keeps what it is sent."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Self

import grpc
from opentelemetry.proto.collector.metrics.v1 import (
    metrics_service_pb2,
    metrics_service_pb2_grpc,
)
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from processes import until

_KINDS: Final = {SpanMessage.SPAN_KIND_SERVER: "server", SpanMessage.SPAN_KIND_CLIENT: "client"}


@dataclass(frozen=True)
class Span:
    """A span as it was exported."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    state: str
    is_error: bool
    seconds: float
    attributes: dict[str, str | int]


class Collector(
    trace_service_pb2_grpc.TraceServiceServicer, metrics_service_pb2_grpc.MetricsServiceServicer
):
    """The collector. Use it as a context manager."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._metrics: dict[tuple[str, str], Metric] = {}
        self._texts: list[str] = []
        self._lock = threading.Lock()
        self._server = grpc.server(ThreadPoolExecutor(4))
        # What OpenTelemetry generates has no types.
        of_traces: Any = trace_service_pb2_grpc
        of_metrics: Any = metrics_service_pb2_grpc
        of_traces.add_TraceServiceServicer_to_server(self, self._server)
        of_metrics.add_MetricsServiceServicer_to_server(self, self._server)
        self.endpoint = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()

    def Export(self, request: Any, context: object) -> Any:  # noqa: N802  # named by the contract
        """Takes spans, or metrics: the two services have a method of this name."""
        with self._lock:
            self._texts.append(str(request))
            if isinstance(request, metrics_service_pb2.ExportMetricsServiceRequest):
                self._take_metrics(request)
                return metrics_service_pb2.ExportMetricsServiceResponse()
            self._take_spans(request)
            return trace_service_pb2.ExportTraceServiceResponse()

    def _take_metrics(self, request: Any) -> None:
        for resource in request.resource_metrics:
            service = str(_values(resource.resource.attributes)["service.name"])
            for scope in resource.scope_metrics:
                self._metrics |= {(service, metric.name): metric for metric in scope.metrics}

    def _take_spans(self, request: Any) -> None:
        for resource in request.resource_spans:
            service = str(_values(resource.resource.attributes)["service.name"])
            for scope in resource.scope_spans:
                self._spans += [_span(service, each) for each in scope.spans]

    @property
    def text(self) -> str:
        """Everything that was sent here."""
        with self._lock:
            return "\n".join(self._texts)

    def spans(self, trace_id: str) -> list[Span]:
        """The spans of a trace that have come so far, in the order in which they began."""
        with self._lock:
            return [span for span in self._spans if span.trace_id == trace_id]

    def whole(self, trace_id: str, count: int) -> list[Span]:
        """The spans of a trace, once as many as these have come; callers before whom they call."""
        until(lambda: len(self.spans(trace_id)) >= count, f"{count} spans of {trace_id}")
        return _from_the_root(self.spans(trace_id))

    def one(self, matches: Callable[[Span], bool], what: str) -> Span:
        """The span that matches, once it has come."""

        def found() -> list[Span]:
            with self._lock:
                return [span for span in self._spans if matches(span)]

        until(lambda: found() != [], what)
        (span,) = found()
        return span

    def metric(self, service: str, name: str) -> Metric | None:
        """A metric of a process as it was sent last; None before."""
        with self._lock:
            return self._metrics.get((service, name))


def _from_the_root(spans: list[Span]) -> list[Span]:
    """Spans of one trace that has no branches."""
    ids = {span.span_id for span in spans}
    by_parent = {span.parent_id: span for span in spans}
    (root,) = [span for span in spans if span.parent_id not in ids]
    chain = [root]
    while following := by_parent.get(chain[-1].span_id):
        chain.append(following)
    return chain


def _span(service: str, message: SpanMessage) -> Span:
    return Span(
        service=service,
        name=message.name,
        kind=_KINDS[message.kind],
        trace_id=message.trace_id.hex(),
        span_id=message.span_id.hex(),
        parent_id=message.parent_span_id.hex(),
        state=message.trace_state,
        is_error=message.status.code == Status.STATUS_CODE_ERROR,
        seconds=(message.end_time_unix_nano - message.start_time_unix_nano) / 1e9,
        attributes=_values(message.attributes),
    )


def _values(attributes: Any) -> dict[str, str | int]:
    found: dict[str, str | int] = {}
    for each in attributes:
        kind = each.value.WhichOneof("value")
        found[each.key] = getattr(each.value, kind)
    return found
