"""Traces and metrics of a process.

OpenTelemetry throughout: Prometheus reads the metrics from the admin port always, and where an OTLP
endpoint is set, traces and metrics go there too. What every request passes has a lighter form of
its own: `meshkit.spans`, `meshkit.durations` and `meshkit.counters`.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import prometheus_client
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from meshkit import names, spans
from meshkit.counters import Counter
from meshkit.errors import StartError
from meshkit.metric_export import OtlpExporter, PrometheusDurations
from meshkit.settings import Settings

FLUSH_S: Final = 3.0
"""Most seconds that a stopping process waits for its collector."""
_meter = metrics.get_meter("meshkit")
_log = logging.getLogger(__name__)


def counter(name: str, unit: str, description: str) -> Counter:
    """A metric that only grows. `unit` is a UCUM code: `s`, `By`, or `{thing}`."""
    return Counter(_meter, name, unit, description)


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
    """A distribution; `buckets` are upper bounds in the unit.

    What every request is measured by is a `meshkit.durations.Durations` instead.
    """
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
        readers: list[MetricReader] = [PrometheusMetricReader(scope_info_enabled=False)]
        ratio = settings.trace_sample_ratio
        self._traces = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)), resource=resource, shutdown_on_exit=False
        )
        processor: BatchSpanProcessor | None = None
        if endpoint := settings.otlp_endpoint:
            insecure = not endpoint.startswith("https://")
            processor = BatchSpanProcessor(OTLPSpanExporter(endpoint, insecure=insecure))
            self._traces.add_span_processor(processor)
            readers.append(PeriodicExportingMetricReader(OtlpExporter(endpoint, insecure=insecure)))
        self._metrics = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
        trace.set_tracer_provider(self._traces)
        spans.export_to(spans.Export(ratio, processor, resource))
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
        self._durations = PrometheusDurations()
        prometheus_client.REGISTRY.register(self._durations)

    def close(self) -> None:
        """Closes the admin port and exports what has not been yet.

        A collector that does not answer loses that after `FLUSH_S`: a process that stops has a
        grace period, which is not to be spent on it.
        """
        self._admin.shutdown()
        self._admin.server_close()
        self._admin_thread.join()
        prometheus_client.REGISTRY.unregister(self._durations)
        give_up_at = time.monotonic() + FLUSH_S
        flushes = [
            threading.Thread(target=provider.shutdown, daemon=True)
            for provider in (self._traces, self._metrics)
        ]
        for flush in flushes:
            flush.start()
        for flush in flushes:
            flush.join(max(0.0, give_up_at - time.monotonic()))
        if any(flush.is_alive() for flush in flushes):
            _log.warning("the collector did not take the last traces and metrics; they are lost")
