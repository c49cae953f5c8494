"""Whether the gateway can admit, and how what it depends on is doing."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from meshkit import names, telemetry
from meshkit.client import Client
from meshkit.errors import Unavailable
from meshkit.key_store import KeyStore

_ASK_EVERY_S: Final = 1.0
_MEET_WITHIN_S: Final = 3.0
_MEET_EVERY_S: Final = 0.1
_log = logging.getLogger(__name__)
_up = telemetry.gauge(names.KEY_STORE_UP, "{store}", "1 while the key store answers, else 0.")


async def meet(ask: Callable[[], Awaitable[object]], within_s: float = _MEET_WITHIN_S) -> None:
    """Asks a store until it has answered once, for some seconds at most.

    A first connection takes far longer than any later one, most of all on a machine that is busy
    starting. A gateway that let callers in before would tell them that the store is away.

    Args:
        ask: asks once.
        within_s: after which the gateway starts all the same; it may be a while until it is back.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while True:
                with contextlib.suppress(Unavailable):
                    await ask()
                    return
                await asyncio.sleep(_MEET_EVERY_S)


class KeyStoreWatch:
    """Asks the key store every second whether it is there; says changes in the log and a metric."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self.reachable: bool | None = None

    async def run(self) -> None:
        """Watches until cancelled."""
        while True:
            try:
                await self._store.ping()
            except Unavailable as error:
                self._note(reachable=False, cause=error.__cause__)
            else:
                self._note(reachable=True, cause=None)
            await asyncio.sleep(_ASK_EVERY_S)

    def _note(self, *, reachable: bool, cause: BaseException | None) -> None:
        _up.set(int(reachable))
        if reachable == self.reachable:
            return
        self.reachable = reachable
        if reachable:
            _log.info("the key store answers")
        else:
            _log.error("the key store can't be reached: remembered keys pass: %s", cause)


class Drain:
    """Whether the process is leaving; told by the server, asked by whoever must say so."""

    leaving = False


@dataclass(frozen=True, slots=True)
class Readiness:
    """What `/ready` is answered from; asks nobody.

    Attributes:
        drain: whether the gateway is leaving.
        key_store: the watch of the key store.
        backends: the clients of the services, by name.
    """

    drain: Drain
    key_store: KeyStoreWatch
    backends: Mapping[str, Client]

    @property
    def ready(self) -> bool:
        """Whether new requests should come here. Neither a backend nor the key store counts."""
        return not self.drain.leaving

    def states(self) -> dict[str, str]:
        """Each backend's state, "ready" or "unavailable"."""
        return {name: _state(client.serving) for name, client in self.backends.items()}

    def key_store_state(self) -> str:
        """The key store's state, "ready" or "unavailable"."""
        return _state(bool(self.key_store.reachable))


def _state(up: bool) -> str:
    return "ready" if up else "unavailable"
