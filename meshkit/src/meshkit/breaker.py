"""A circuit breaker for one replica: takes it out of the rotation while calls to it fail.

Closed, calls pass. Once enough of the latest ones failed it opens, and none passes for a while;
then it is half open and lets one through, which decides. Each time that one fails it stays open
longer.

Source: Nygard, Release It!, "Circuit Breaker".
"""

import enum
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Final

WINDOW: Final = 20
"""How many of the latest calls count."""
LEAST_CALLS: Final = 5
"""It does not open before so many calls were made."""
OPENING_SHARE: Final = 0.5
"""It opens when this share of them failed."""
_OPEN_S: Final = (1.0, 30.0)
# A replica has faults of its own if it has this many times those of the others.
_OUTLIER: Final = 3.0


class Result(enum.StrEnum):
    """What a call says of the replica that had it.

    A string, since other members are hashed in Python, and each call counts by them.
    """

    GOOD = "good"
    """It answered, be it with an error that is the caller's or the model's to have."""
    FAULT = "fault"
    """It answered that something is wrong with it. Every replica may say that of a poisonous
    request, so it counts against this one only if the others do better."""
    FAILED = "failed"
    """It could not be reached, or did not answer in a fair time."""
    NOTHING = "nothing"
    """The caller left, or gave too little time to tell."""


class State(enum.StrEnum):
    """Whether calls pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """The breaker of one replica.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._results: deque[Result] = deque(maxlen=WINDOW)
        self._counts = dict.fromkeys(Result, 0)
        self._open_until_s: float | None = None
        self._open_s = _OPEN_S[0]
        self._probing = False

    @property
    def state(self) -> State:
        """Whether calls pass now."""
        if self._open_until_s is None:
            return State.CLOSED
        return State.OPEN if self._clock() < self._open_until_s else State.HALF_OPEN

    @property
    def passes(self) -> bool:
        """Whether a call may be made: half open, one at a time."""
        if self._open_until_s is None:
            return True
        return self._clock() >= self._open_until_s and not self._probing

    @property
    def fault_share(self) -> float | None:
        """The share of the latest calls that were answered with a fault; None for too few calls."""
        calls = len(self._results)
        return self._counts[Result.FAULT] / calls if calls >= LEAST_CALLS else None

    def begin(self) -> None:
        """Says that a call is being made."""
        if self._open_until_s is not None and self.state is State.HALF_OPEN:
            self._probing = True

    def end(self, result: Result, others_fault_share: Callable[[], float] = lambda: 1.0) -> None:
        """Says how a call has ended.

        Args:
            result: what it says of the replica.
            others_fault_share: asked for that of the other replicas; 1 where nobody knows.
        """
        if self._open_until_s is None:
            self._count(result, others_fault_share)
        elif self._probing:
            self._probing = False
            self._judge_probe(result)

    def _count(self, result: Result, others_fault_share: Callable[[], float]) -> None:
        if result is Result.NOTHING:
            return
        if len(self._results) == WINDOW:
            self._counts[self._results[0]] -= 1
        self._results.append(result)
        self._counts[result] += 1
        share = self.fault_share
        if share is None or self._counts[Result.GOOD] == len(self._results):
            return
        bad = self._counts[Result.FAILED]
        if share > _OUTLIER * others_fault_share():
            bad += self._counts[Result.FAULT]
        if bad >= OPENING_SHARE * len(self._results):
            self._open()

    def _judge_probe(self, result: Result) -> None:
        if result is Result.GOOD:
            self._open_until_s = None
            self._open_s = _OPEN_S[0]
        elif result is not Result.NOTHING:  # of which nothing follows: the next call is a probe too
            self._open()

    def _open(self) -> None:
        self._results.clear()
        self._counts = dict.fromkeys(Result, 0)
        # Jitter, so that not every process probes in the same moment.
        self._open_until_s = self._clock() + self._open_s * random.uniform(0.8, 1.2)  # noqa: S311
        self._open_s = min(2 * self._open_s, _OPEN_S[1])
