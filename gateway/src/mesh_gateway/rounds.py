"""An event loop that looks at its callers in rounds, between the work that is under way.

A request takes some seven turns of the loop: its task begins, asks Redis and the service, and is
woken by their answers. Where each turn reads every caller first, those who have just come make all
the others wait, seven times. So while there is work, callers wait until it has gone as far as it
can, or for a while at most; what was begun in one round is then done together, too.
"""

import asyncio
import selectors
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Self, TypeAlias

_PATIENCE_S: Final = 0.01
"""How long callers wait at most while the loop has other work."""
_File: TypeAlias = Any  # as `selectors` has it: a descriptor, or what has one
_Events: TypeAlias = list[tuple[selectors.SelectorKey, int]]


class Rounds(selectors.BaseSelector):
    """Selects what callers do in rounds, and at once what anybody else does.

    Attributes:
        callers: the descriptors of sockets that callers are on, while they are open.
        at_round: called as a round begins; say whether they have made work for the loop.
    """

    def __init__(self) -> None:
        self.callers: set[int] = set()
        self.at_round: list[Callable[[], bool]] = []
        self._of_callers = selectors.DefaultSelector()
        self._of_others = selectors.DefaultSelector()
        self._any_caller = self._of_others.register(self._of_callers, selectors.EVENT_READ).fd
        self._round_s = 0.0

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Self:
        """Those of a loop.

        Raises:
            TypeError: it has none.
        """
        rounds = getattr(loop, "rounds", None)
        if not isinstance(rounds, cls):
            raise TypeError("the gateway's HTTP server needs its loop; run it with `RoundsLoop`")
        return rounds

    def select(self, timeout: float | None = None) -> _Events:
        """What is ready; without a timeout the loop has work, and callers may have to wait."""
        now_s = time.monotonic()
        if timeout == 0 and now_s - self._round_s < _PATIENCE_S:
            return self._without_callers(self._of_others.select(0))
        self._round_s = now_s
        made_work = [begin() for begin in self.at_round]
        ready = self._of_others.select(0 if any(made_work) else timeout)
        others = self._without_callers(ready)
        return others if len(others) == len(ready) else others + self._of_callers.select(0)

    def _without_callers(self, ready: _Events) -> _Events:
        return [each for each in ready if each[0].fd != self._any_caller]

    def register(self, fileobj: _File, events: int, data: Any = None) -> selectors.SelectorKey:
        """As any selector."""
        is_caller = _descriptor(fileobj) in self.callers
        chosen = self._of_callers if is_caller else self._of_others
        return chosen.register(fileobj, events, data)

    def unregister(self, fileobj: _File) -> selectors.SelectorKey:
        """As any selector."""
        return self._having(fileobj).unregister(fileobj)

    def modify(self, fileobj: _File, events: int, data: Any = None) -> selectors.SelectorKey:
        """As any selector."""
        return self._having(fileobj).modify(fileobj, events, data)

    def get_key(self, fileobj: _File) -> selectors.SelectorKey:
        """As any selector."""
        return self._having(fileobj).get_key(fileobj)

    def get_map(self) -> Mapping[_File, selectors.SelectorKey]:
        """As any selector."""
        return {**self._of_others.get_map(), **self._of_callers.get_map()}

    def close(self) -> None:
        """As any selector."""
        self._of_callers.close()
        self._of_others.close()

    def _having(self, fileobj: _File) -> selectors.BaseSelector:
        """The one that has a descriptor, whatever it has become meanwhile."""
        known = _descriptor(fileobj) in self._of_callers.get_map()
        return self._of_callers if known else self._of_others


class RoundsLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop, with callers that wait for the work that is under way."""

    def __init__(self) -> None:
        self.rounds = Rounds()
        super().__init__(self.rounds)


def _descriptor(fileobj: _File) -> int:
    return fileobj if isinstance(fileobj, int) else fileobj.fileno()
