from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from meshkit.counters import Counter


def points(reader: InMemoryMetricReader) -> dict[Any, Any]:
    data = reader.get_metrics_data()
    if data is None:
        return {}
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    assert (metric.name, metric.unit, metric.description) == ("a.b", "{thing}", "Things.")
    return {tuple(dict(each.attributes or {}).items()): each for each in metric.data.data_points}


def test_what_is_added_is_read_as_often_as_one_likes() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    counter = Counter(provider.get_meter("test"), "a.b", "{thing}", "Things.")
    assert points(reader) == {}
    counter.add(1)
    counter.add(2, {"x": "1"})
    counter.add(3, {"x": "1"})
    for _ in range(2):
        found = {key: each.value for key, each in points(reader).items()}
        assert found == {(): 1, (("x", "1"),): 5}
    provider.shutdown()
