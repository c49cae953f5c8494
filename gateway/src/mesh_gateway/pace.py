"""How many requests the event loop begins in one round, and how long others wait for theirs."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from mesh_gateway.rounds import Rounds

_MOST_IN_ROUND: Final = 16
"""What is begun goes through together, and what it shares, a trip to Redis and a message to a
service, costs less for each; but all that is under way waits for as long as it takes."""
_FEW: Final = 256
"""Callers with one request each who may wait at any rate: so many are no overload."""
_MOST_WAITING: Final = 4096
_BURST_S: Final = 0.1
"""A queue that has been there for so long is no burst, unless it was gone for as long."""
_MOST_WAIT_IN_BURST_S: Final = 0.2
_MOST_WAIT_S: Final = 0.02
"""How long one waits for its turn while others are let in behind it."""


class Pace:
    """Begins requests, a few in each round of the loop; the others wait.

    A burst is worth waiting for. A queue that stays makes all wait longer and answers none sooner
    (Maurer, "Fail at Scale", ACM Queue 13(8), 2015), so once it has been there for a while, no more
    than a few come in while the first has waited for too long. All times are of the loop's CPU:
    while other processes have the machine's, refusing makes nothing faster.

    Args:
        rounds: of the loop.
    """

    def __init__(self, rounds: Rounds) -> None:
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()
        self._begun = 0
        # Asked for once in a round: the kernel takes its time to say it.
        self._now_s = 0.0
        self._stands_since_s = 0.0
        self._gone_since_s = 0.0
        rounds.at_round.append(self.round)

    def admits(self) -> bool:
        """Whether one more request may come in, to be begun now or in its turn."""
        if len(self._waiting) < _FEW:
            return True
        stands = self._now_s - self._stands_since_s > _BURST_S
        most_s = _MOST_WAIT_S if stands else _MOST_WAIT_IN_BURST_S
        first_s, _ = self._waiting[0]
        return self._now_s - first_s < most_s and len(self._waiting) < _MOST_WAITING

    def begins(self) -> bool:
        """Whether a request begins in this round, which counts it then, or must `wait`."""
        if self._waiting or self._begun == _MOST_IN_ROUND:
            return False
        self._begun += 1
        return True

    def wait(self, start: Callable[[], None]) -> None:
        """Has a request wait for those before it.

        Args:
            start: begins it.
        """
        if not self._waiting:
            self._stand()
        self._waiting.append((self._now_s, start))

    def round(self) -> bool:
        """Begins those whose turn it is, and says whether there were any."""
        self._begun = min(len(self._waiting), _MOST_IN_ROUND)
        if not self._begun:
            return False
        for _ in range(self._begun):
            _, start = self._waiting.popleft()
            start()
        self._now_s = time.thread_time()
        if not self._waiting:
            self._gone_since_s = self._now_s
        return True

    def _stand(self) -> None:
        """Takes note that there is a queue."""
        self._now_s = time.thread_time()
        if self._now_s - self._gone_since_s > _BURST_S:
            self._stands_since_s = self._now_s
