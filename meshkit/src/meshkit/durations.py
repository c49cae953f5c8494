"""Histograms of seconds that cost a request less than a microsecond.

The SDK's own take nine for each measurement, most of it for what is the same every time. These keep
one list of counts for each set of attribute values; the exporters read them when they are asked
(`meshkit.metric_export`).
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from opentelemetry.trace import SpanContext

from meshkit import names

Values: TypeAlias = tuple[str | int | None, ...]
MOST_SERIES: Final = 1000
"""Most sets of values of one histogram; what would be more counts as `otel.metric.overflow`."""


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One measurement that a trace can be found of."""

    value_s: float
    time_ns: int
    span: SpanContext


@dataclass(slots=True)
class Series:
    """What was measured under one set of values.

    Attributes:
        counts: measurements by bucket; the last one has no upper bound.
        sum_s: of all measurements, in seconds.
        least_s: the smallest.
        most_s: the largest.
        exemplars: the last one that has a trace, by bucket.
    """

    counts: list[int]
    sum_s: float = 0.0
    least_s: float = float("inf")
    most_s: float = 0.0
    exemplars: dict[int, Exemplar] = field(default_factory=dict)


class Durations:
    """A histogram of seconds.

    Args:
        name: from `meshkit.names`.
        description: what is measured.
        attributes: names of the attributes, in the order in which `record` takes their values.
        same: attributes that every measurement has.
    """

    def __init__(
        self,
        name: str,
        description: str,
        attributes: Sequence[str],
        same: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.description = description
        self.bounds = names.DURATION_BUCKETS_S
        self.began_ns = time.time_ns()
        self._attributes = tuple(attributes)
        self._same = dict(same or {})
        self._series: dict[Values, Series] = {}
        self._overflow = self._new_series()
        self._lock = threading.Lock()
        _all.append(self)

    def record(self, elapsed_s: float, values: Values, exemplar: SpanContext | None = None) -> None:
        """Adds a measurement.

        Args:
            elapsed_s: seconds.
            values: of the attributes, in their order; None where one does not apply.
            exemplar: the span that was measured, where it is exported.
        """
        bucket = bisect_left(self.bounds, elapsed_s)
        with self._lock:
            series = self._series.get(values) or self._begun(values)
            series.counts[bucket] += 1
            series.sum_s += elapsed_s
            if elapsed_s < series.least_s:  # noqa: PLR1730  # a third of what a call of min takes
                series.least_s = elapsed_s
            if elapsed_s > series.most_s:  # noqa: PLR1730  # the same
                series.most_s = elapsed_s
            if exemplar is not None:
                series.exemplars[bucket] = Exemplar(elapsed_s, time.time_ns(), exemplar)

    def read(self) -> Iterable[tuple[dict[str, str | int | bool], Series]]:
        """Every series as it is now, with its attributes."""
        with self._lock:
            copies = [(values, _copy(series)) for values, series in self._series.items()]
            overflow = _copy(self._overflow)
        for values, series in copies:
            given = zip(self._attributes, values, strict=True)
            yield {**self._same, **{name: v for name, v in given if v is not None}}, series
        if any(overflow.counts):
            yield {**self._same, names.METRIC_OVERFLOW: True}, overflow

    def _begun(self, values: Values) -> Series:
        if len(self._series) >= MOST_SERIES:
            return self._overflow
        return self._series.setdefault(values, self._new_series())

    def _new_series(self) -> Series:
        return Series([0] * (len(self.bounds) + 1))


def every() -> tuple[Durations, ...]:
    """All histograms of the process."""
    return tuple(_all)


_all: Final[list[Durations]] = []


def _copy(series: Series) -> Series:
    return Series(
        list(series.counts), series.sum_s, series.least_s, series.most_s, dict(series.exemplars)
    )
