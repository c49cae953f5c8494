"""What was answered, by second and by kind of request."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mesh_load.histogram import Histogram


@dataclass
class Answers:
    """The answers to one kind of request.

    Attributes:
        good: durations of those that were as they should be.
        errors: how often there was each kind of error.
    """

    good: Histogram = field(default_factory=Histogram)
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """How many there were, good or not."""
        return self.good.count + self.errors.total()

    def add(self, other: "Answers") -> None:
        """Counts all answers of another one too."""
        self.good.add(other.good)
        self.errors.update(other.errors)


class Tally:
    """All answers so far."""

    def __init__(self) -> None:
        self._seconds: dict[int, dict[str, Answers]] = defaultdict(lambda: defaultdict(Answers))

    def record(self, second: int, kind: str, duration_ms: float, error: str | None) -> None:
        """Counts an answer.

        Args:
            second: in which it came, of the clock on the wall.
            kind: of the request.
            duration_ms: how long it took.
            error: what is wrong with it; None where nothing is.
        """
        answers = self._seconds[second][kind]
        if error is None:
            answers.good.record(duration_ms)
        else:
            answers.errors[error] += 1

    def take(self) -> list[list[Any]]:
        """Everything, in a form that can be sent; nothing is left."""
        taken = [
            [second, kind, list(answers.good.buckets.items()), list(answers.errors.items())]
            for second, kinds in self._seconds.items()
            for kind, answers in kinds.items()
        ]
        self._seconds.clear()
        return taken

    def add(self, taken: Iterable[Iterable[Any]]) -> None:
        """Counts what another one has given away too."""
        for second, kind, buckets, errors in taken:
            found = Answers(Histogram(Counter(dict(buckets))), Counter(dict(errors)))
            self._seconds[second][kind].add(found)

    def between(self, first: float, last: float) -> Mapping[str, Answers]:
        """The answers of the whole seconds from `first` until before `last`, by kind."""
        found: dict[str, Answers] = defaultdict(Answers)
        for second, kinds in self._seconds.items():
            if first <= second < last:
                for kind, answers in kinds.items():
                    found[kind].add(answers)
        return dict(found)
