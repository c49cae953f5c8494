"""How much of a machine each request has had, where many share it."""

import time
from collections.abc import Callable


class ComputeShare:
    """Divides time among the requests that are computed at once, in even parts.

    The parts of all requests together are the time in which there was one at all.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._running = 0
        self._part_s = 0.0  # of a request that had run from the beginning on
        self._at_s = clock()

    def begin(self) -> float:
        """Says that a request begins; what it gets is to be given back at its end."""
        self._advance()
        self._running += 1
        return self._part_s

    def end(self, begun: float) -> float:
        """Says that it has ended; the seconds that were its part."""
        self._advance()
        self._running -= 1
        return self._part_s - begun

    def _advance(self) -> None:
        now_s = self._clock()
        if self._running:
            self._part_s += (now_s - self._at_s) / self._running
        self._at_s = now_s
