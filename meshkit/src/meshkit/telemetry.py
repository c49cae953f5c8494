"""Traces, metrics and logs of a process.

OpenTelemetry throughout: Prometheus reads the metrics from the admin port always, and where an OTLP
    endpoint is
set, traces and metrics go there too. Logs are JSON lines on stderr with the trace and request ids.
"""

import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import prometheus_client
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from pythonjsonlogger.json import JsonFormatter

from meshkit import context as request_context
from meshkit import names
from meshkit.errors import StartError
from meshkit.settings import Settings

tracer = trace.get_tracer("meshkit")
_meter = metrics.get_meter("meshkit")


def counter(name: str, unit: str, description: str) -> metrics.Counter:
    """A metric that only grows. `unit` is a UCUM code: `s`, `By`, or `{thing}`."""
    return _meter.create_counter(name, unit, description)


def up_down_counter(name: str, unit: str, description: str) -> metrics.UpDownCounter:
    """A metric that is added to and taken from, such as a queue's depth."""
    return _meter.create_up_down_counter(name, unit, description)


def gauge(name: str, unit: str, description: str) -> metrics._Gauge:
    """A metric that is set."""
    return _meter.create_gauge(name, unit, description)


def observed(
    name: str,
    unit: str,
    description: str,
    observe: Callable[[], Iterable[tuple[float, Mapping[str, str]]]],
) -> metrics.ObservableGauge:
    """A metric that is looked up when it is read, so that its changes cost nothing.

    Args:
        name: from `meshkit.names`.
        unit: a UCUM code.
        description: what the metric says.
        observe: the values now, each with its attributes; called from another thread.
    """
    return _meter.create_observable_gauge(
        name,
        [lambda options: [metrics.Observation(value, dict(at)) for value, at in observe()]],
        unit,
        description,
    )


def histogram(
    name: str, unit: str, description: str, buckets: Sequence[float] = names.DURATION_BUCKETS_S
) -> metrics.Histogram:
    """A distribution; `buckets` are upper bounds in the unit."""
    return _meter.create_histogram(
        name, unit, description, explicit_bucket_boundaries_advisory=list(buckets)
    )


class Telemetry:
    """The exporters of a process, from start to a flush at its end."""

    def __init__(self, settings: Settings, service: str) -> None:
        """Starts them.

        Raises:
            StartError: the admin port is taken.
        """
        resource = Resource.create(
            {"service.name": service, "deployment.environment.name": settings.deployment}
        )
        readers: list[MetricReader] = [PrometheusMetricReader()]
        sampler = ParentBased(TraceIdRatioBased(settings.trace_sample_ratio))
        self._traces = TracerProvider(sampler=sampler, resource=resource, shutdown_on_exit=False)
        if settings.otlp_endpoint:
            insecure = not settings.otlp_endpoint.startswith("https://")
            self._traces.add_span_processor(
                BatchSpanProcessor(OTLPSpanExporter(settings.otlp_endpoint, insecure=insecure))
            )
            readers.append(
                PeriodicExportingMetricReader(
                    OTLPMetricExporter(settings.otlp_endpoint, insecure=insecure)
                )
            )
        self._metrics = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
        trace.set_tracer_provider(self._traces)
        metrics.set_meter_provider(self._metrics)
        try:
            self._admin, self._admin_thread = prometheus_client.start_http_server(
                settings.admin_port, settings.bind_address
            )
        except OSError as error:
            raise StartError(
                f"can't listen on {settings.bind_address}:{settings.admin_port} for metrics: "
                f"{error.strerror}; free the port or set another admin_port"
            ) from error

    def close(self) -> None:
        """Closes the admin port and flushes what has not been exported."""
        self._admin.shutdown()
        self._admin.server_close()
        self._admin_thread.join()
        self._traces.shutdown()
        self._metrics.shutdown()


class _Formatter(JsonFormatter):
    """A JSON line with the ids under which a request is known everywhere."""

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        super().add_fields(log_data, record, message_dict)
        if request := request_context.current():
            log_data.setdefault("request_id", request.request_id)
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            log_data["trace_id"] = trace.format_trace_id(span.trace_id)
            log_data["span_id"] = trace.format_span_id(span.span_id)


def configure_logging(level: str, service: str) -> None:
    """Sends every logger of the process to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _Formatter(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger"},
            static_fields={"service": service},
            timestamp="time",
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
