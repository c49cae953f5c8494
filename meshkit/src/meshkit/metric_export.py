"""How the histograms of `meshkit.durations` reach Prometheus and an OTLP collector."""

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExportResult,
    MetricsData,
    ScopeMetrics,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as PrometheusExemplar
from prometheus_client.samples import Sample

from meshkit import durations
from meshkit.durations import Durations, Series

_SCOPE: Final = InstrumentationScope("meshkit.durations")


class PrometheusDurations(Collector):
    """The histograms as Prometheus reads them, with exemplars where it asks for OpenMetrics."""

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Every histogram as it is now."""
        for each in durations.every():
            found = list(each.read())
            attribute_names = list(dict.fromkeys(name for of_one, _ in found for name in of_one))
            family = HistogramMetricFamily(
                f"{each.name.replace('.', '_')}_seconds",
                each.description,
                labels=[name.replace(".", "_") for name in attribute_names],
                unit="seconds",
            )
            for attributes, series in found:
                values = [_label(attributes.get(name, "")) for name in attribute_names]
                family.add_metric(values, _buckets(each, series), series.sum_s)
            family.samples = [_without_empty(sample) for sample in family.samples]
            yield family


def _without_empty(sample: Sample) -> Sample:
    """The sample without the labels that do not apply to it."""
    return sample._replace(labels={name: value for name, value in sample.labels.items() if value})


def _label(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _buckets(histogram: Durations, series: Series) -> list[Any]:
    """Bound, count up to it, and exemplar of each bucket."""
    bounds = [*map(str, histogram.bounds), "+Inf"]
    total = 0
    buckets: list[Any] = []
    for index, (bound, count) in enumerate(zip(bounds, series.counts, strict=True)):
        total += count
        known = series.exemplars.get(index)
        buckets.append([bound, total, known and _prometheus_exemplar(known)])
    return buckets


def _prometheus_exemplar(exemplar: durations.Exemplar) -> PrometheusExemplar:
    ids = {
        "trace_id": trace.format_trace_id(exemplar.span.trace_id),
        "span_id": trace.format_span_id(exemplar.span.span_id),
    }
    return PrometheusExemplar(ids, exemplar.value_s, exemplar.time_ns / 1e9)


class OtlpExporter(OTLPMetricExporter):
    """Sends the SDK's metrics to a collector, and the histograms with them."""

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """Sends everything as it is now."""
        return super().export(_with_durations(metrics_data), timeout_millis, **kwargs)


def _with_durations(data: MetricsData) -> MetricsData:
    metrics = [_metric(each) for each in durations.every()]
    scope = ScopeMetrics(_SCOPE, metrics, "")
    first, *others = data.resource_metrics
    return MetricsData(
        [replace(first, scope_metrics=[*first.scope_metrics, scope]), *others],
    )


def _metric(histogram: Durations) -> Metric:
    now_ns = time.time_ns()
    points = [
        HistogramDataPoint(
            attributes=attributes,
            start_time_unix_nano=histogram.began_ns,
            time_unix_nano=now_ns,
            count=sum(series.counts),
            sum=series.sum_s,
            bucket_counts=series.counts,
            explicit_bounds=histogram.bounds,
            min=series.least_s,
            max=series.most_s,
            exemplars=[_otlp_exemplar(each) for each in series.exemplars.values()],
        )
        for attributes, series in histogram.read()
    ]
    data = Histogram(points, AggregationTemporality.CUMULATIVE)
    return Metric(histogram.name, histogram.description, "s", data)


def _otlp_exemplar(known: durations.Exemplar) -> Exemplar:
    return Exemplar({}, known.value_s, known.time_ns, known.span.span_id, known.span.trace_id)
