"""The order in which the requests of several callers are generated, where they have to wait."""

from typing import Final

_PRIORITY_STEP: Final = 2**32
"""More choices than wait between two rests: a priority goes before every turn."""


class Turns:
    """Gives each request its turn, so that a caller of many lets others of few go between.

    Start-time fair queueing: a caller's requests stand one behind the other on a line, each as long
    as it has choices; a caller who had none joins at the place that is being served. Source: Goyal,
    Vin, Cheng, Start-time Fair Queuing, 1996.
    """

    def __init__(self) -> None:
        self._served = 0
        self._ends: dict[str, int] = {}

    def take(self, caller: str, choices: int) -> int:
        """The turn of a caller's next request; lower ones are first."""
        turn = max(self._served, self._ends.get(caller, 0))
        self._ends[caller] = turn + choices
        return turn

    def began(self, turn: int) -> None:
        """The request of a turn is being generated."""
        if turn > self._served:
            self._served = turn
            self._ends = {caller: end for caller, end in self._ends.items() if end > turn}

    def gave_up(self, caller: str, choices: int) -> None:
        """A request left before it was generated: its caller has not been served by it."""
        if caller in self._ends:
            self._ends[caller] -= choices

    def rest(self) -> None:
        """No request is left: nobody waits for anybody."""
        self._served = 0
        self._ends.clear()


def place(priority: int, turn: int) -> int:
    """The engine's own priority of a request: by its priority, then by its turn."""
    return priority * _PRIORITY_STEP + turn
