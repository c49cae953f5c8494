"""How many requests the event loop begins at once, so that none waits long for the others."""

import asyncio
import math
import time
from typing import Final

_MOST_CPU_S: Final = 0.03
"""What requests that begin together may take of the loop: a hundred of them and more. A refusal is
as late as the turn before it was long."""
_LEAST: Final = 16
_GROWTH: Final = 1.25


class Pace:
    """Says whether one more request may begin now.

    Requests that begin in one turn of the loop or the next are counted together. Where these turns
    take too much CPU, that says what a request costs, and so how many may begin next time; where
    fewer come than may begin there is soon no bound. It is CPU that counts: while other processes
    have the machine's, refusing makes nothing faster.
    """

    def __init__(self) -> None:
        self._begun = 0
        self._began_cpu_s = 0.0
        self._most = math.inf

    def admits(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Counts a request in, or refuses it."""
        if not self._begun:
            self._began_cpu_s = time.thread_time()
            # Runs behind everything that is ready now, so that the next turn is whole.
            loop.call_soon(loop.call_soon, self._end)
        self._begun += 1
        return self._begun <= self._most

    def _end(self) -> None:
        begun = min(self._begun, self._most)
        cpu_s = time.thread_time() - self._began_cpu_s
        if cpu_s > _MOST_CPU_S:
            self._most = max(_LEAST, begun * _MOST_CPU_S / cpu_s)
        elif self._begun > self._most:
            self._most *= _GROWTH
        elif self._begun * _GROWTH < self._most:
            self._most = math.inf
        self._begun = 0
