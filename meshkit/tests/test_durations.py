import threading
from collections.abc import Iterator

import pytest
from opentelemetry.trace import SpanContext

from meshkit import durations
from meshkit.durations import MOST_SERIES, Durations


@pytest.fixture
def histogram() -> Iterator[Durations]:
    made = Durations("test.duration", "A test.", ("method", "error.type"), {"system": "grpc"})
    yield made
    durations._all.remove(made)


def test_measurements_are_counted_by_bucket_and_attributes(histogram: Durations) -> None:
    for elapsed_s in (0.005, 0.0050001, 0.2, 100.0):
        histogram.record(elapsed_s, ("a", None))
    histogram.record(0.001, ("a", "INTERNAL"))
    (good, at_a), (failed, at_error) = histogram.read()
    assert good == {"system": "grpc", "method": "a"}
    assert failed == {"system": "grpc", "method": "a", "error.type": "INTERNAL"}
    assert at_a.counts == [1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert (at_a.least_s, at_a.most_s) == (0.005, 100.0)
    assert at_a.sum_s == pytest.approx(100.2100001)
    assert sum(at_error.counts) == 1


def test_the_last_exemplar_of_a_bucket_is_kept(histogram: Durations) -> None:
    first, last = SpanContext(1, 2, False), SpanContext(3, 4, False)
    histogram.record(0.001, ("a", None), first)
    histogram.record(0.002, ("a", None), last)
    histogram.record(0.003, ("a", None))
    histogram.record(3.0, ("a", None), first)
    ((_, series),) = histogram.read()
    found = {bucket: (each.value_s, each.span) for bucket, each in series.exemplars.items()}
    assert found == {0: (0.002, last), 11: (3.0, first)}


def test_what_would_be_too_many_series_is_one(histogram: Durations) -> None:
    for number in range(MOST_SERIES + 5):
        histogram.record(0.001, (f"m{number}", None))
    histogram.record(0.001, ("m0", None))
    found = list(histogram.read())
    assert len(found) == MOST_SERIES + 1
    assert sum(found[0][1].counts) == 2
    attributes, overflow = found[-1]
    assert attributes == {"system": "grpc", "otel.metric.overflow": True}
    assert sum(overflow.counts) == 5


def test_threads_lose_no_measurement(histogram: Durations) -> None:
    def record() -> None:
        for _ in range(2000):
            histogram.record(0.001, ("a", None))

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ((_, series),) = histogram.read()
    assert series.counts[0] == 8000


def test_what_was_read_does_not_change(histogram: Durations) -> None:
    histogram.record(0.001, ("a", None))
    ((_, series),) = histogram.read()
    histogram.record(0.001, ("a", None))
    assert sum(series.counts) == 1
