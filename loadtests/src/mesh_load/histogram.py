"""Durations in buckets that each are 2% wide, so that processes can put theirs together."""

import math
from collections import Counter
from dataclasses import dataclass, field

_WIDTH = math.log(1.02)
_LEAST_MS = 0.01


@dataclass
class Histogram:
    """How often there was a duration of each size.

    Attributes:
        buckets: counts by the number of a bucket.
    """

    buckets: Counter[int] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """How many durations there were."""
        return self.buckets.total()

    def record(self, duration_ms: float) -> None:
        """Counts a duration."""
        self.buckets[round(math.log(max(duration_ms, _LEAST_MS)) / _WIDTH)] += 1

    def add(self, other: "Histogram") -> None:
        """Counts all durations of another one too."""
        self.buckets.update(other.buckets)

    def percentile_ms(self, share: float) -> float:
        """The duration that this share does not exceed, within 1%; NaN of none."""
        wanted = math.ceil(share * self.count)
        for bucket in sorted(self.buckets):
            wanted -= self.buckets[bucket]
            if wanted <= 0:
                return math.exp(bucket * _WIDTH)
        return math.nan
