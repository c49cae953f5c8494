"""Rounds that measure contenders in turn, and what they say of them together."""

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Ratio:
    """How one contender stands to another, over all rounds."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} to {self.most:.2f})"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """The ratio of two figures that were measured round by round."""
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def in_turn(contenders: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Measures each contender once a round, every other round in the other order.

    A round before the first one is not counted: it warms everything up.

    Args:
        contenders: what measures each, by its name.
        rounds: how many are counted.
    """
    found: dict[str, list[T]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        order = list(contenders)
        for name in order if number % 2 else reversed(order):
            measured = contenders[name]()
            tell(f"{'warm-up' if number == 0 else f'round {number}'}: {name}: {measured}")
            if number:
                found[name].append(measured)
    return found


def tell(line: str) -> None:
    """Writes a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
