"""The steps of a load: how long each lasts, and what it found."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mesh_load.histogram import Histogram
from mesh_load.profile import TEXTS
from mesh_load.tally import Answers, Tally

SETTLE_S: Final = 3
"""Of a step, before it counts: its callers begin."""
REPORT_S: Final = 4
"""After a step, until every process has told what it has."""
MOST_ERRORS: Final = 0.01
LEAST_ASKED: Final = 0.9
_STOP_BELOW: Final = 0.8


@dataclass(frozen=True)
class Step:
    """What a step found.

    Attributes:
        rate_per_s: requests that were to be asked a second.
        seconds: that it counted.
        maker_cpu: share of a CPU that the busiest process of the load used.
        kinds: answers by kind of request.
    """

    rate_per_s: int
    seconds: int
    maker_cpu: float
    kinds: Mapping[str, Answers]

    @property
    def asked_per_s(self) -> float:
        """Requests that were asked a second and have an end."""
        return sum(each.count for each in self.kinds.values()) / self.seconds

    @property
    def answered_per_s(self) -> float:
        """Requests that were answered as they should be, a second."""
        return sum(each.good.count for each in self.kinds.values()) / self.seconds

    @property
    def texts_per_s(self) -> float:
        """Texts that were classified, a second."""
        count = sum(each.good.count * TEXTS[kind] for kind, each in self.kinds.items())
        return count / self.seconds

    @property
    def durations(self) -> Histogram:
        """Of all good answers."""
        found = Histogram()
        for each in self.kinds.values():
            found.add(each.good)
        return found

    @property
    def errors(self) -> Counter[str]:
        """How often there was each kind of error."""
        return sum((each.errors for each in self.kinds.values()), Counter[str]())

    @property
    def error_share(self) -> float:
        """Share of the requests with an end that ended badly."""
        count = self.asked_per_s * self.seconds
        return self.errors.total() / count if count else 1.0

    @property
    def held(self) -> bool:
        """Whether what was to be asked was asked, and nearly all of it answered well."""
        asked = self.asked_per_s >= LEAST_ASKED * self.rate_per_s
        return asked and self.error_share <= MOST_ERRORS

    @property
    def is_last(self) -> bool:
        """Whether more load has nothing more to show."""
        return self.answered_per_s < _STOP_BELOW * self.rate_per_s

    def to_json(self) -> dict[str, Any]:
        """As JSON has it."""
        tally = [
            [kind, list(each.good.buckets.items()), list(each.errors.items())]
            for kind, each in self.kinds.items()
        ]
        return {
            "rate_per_s": self.rate_per_s,
            "seconds": self.seconds,
            "maker_cpu": self.maker_cpu,
            "kinds": tally,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Step":
        """The step that JSON tells of."""
        kinds = {
            kind: Answers(Histogram(Counter(dict(buckets))), Counter(dict(errors)))
            for kind, buckets, errors in found["kinds"]
        }
        return cls(found["rate_per_s"], found["seconds"], found["maker_cpu"], kinds)


def best(steps: Sequence[Step]) -> Step | None:
    """The last step that held before the first that did not."""
    found = None
    for step in steps:
        if not step.held:
            break
        found = step
    return found


class Plan:
    """Says when each step begins and ends.

    Args:
        rates_per_s: requests a second of each step.
        step_s: seconds of a step that count.
        tally: where the answers are.
    """

    def __init__(self, rates_per_s: Sequence[int], step_s: int, tally: Tally) -> None:
        self._rates = list(rates_per_s)
        self._step_s = step_s
        self._tally = tally
        self._counts_from: int | None = None
        self._maker_cpu = 0.0
        self.found: list[Step] = []

    def rate_at(self, now: float, maker_cpu: float) -> int | None:
        """Requests a second that are to be asked now; None at the end.

        Args:
            now: seconds of the clock on the wall.
            maker_cpu: share of a CPU that the busiest process of the load uses.
        """
        if self._counts_from is None:
            self._begin(now)
        self._maker_cpu = max(self._maker_cpu, maker_cpu)
        if self._counts_from is not None and now >= self._counts_from + self._step_s + REPORT_S:
            self._end(self._counts_from)
            if not self._rates or self.found[-1].is_last:
                return None
            self._begin(now)
        return self._rates[0]

    def _begin(self, now: float) -> None:
        self._counts_from = int(now) + SETTLE_S
        self._maker_cpu = 0.0

    def _end(self, began: int) -> None:
        kinds = self._tally.between(began, began + self._step_s)
        self.found.append(Step(self._rates.pop(0), self._step_s, self._maker_cpu, kinds))
