"""A gateway that starts waits until its stores have answered once, and not for ever."""

import time

from mesh_gateway.readiness import meet
from meshkit.errors import Unavailable


class Store:
    """Answers from so many questions on."""

    def __init__(self, silent: float) -> None:
        self._silent = silent
        self.asked = 0

    async def ping(self) -> None:
        self.asked += 1
        if self.asked <= self._silent:
            raise Unavailable("not yet")


async def test_it_asks_until_there_is_an_answer() -> None:
    store = Store(silent=2)
    await meet(store.ping, within_s=60.0)
    assert store.asked == 3


async def test_it_asks_once_where_the_store_is_there() -> None:
    store = Store(silent=0)
    await meet(store.ping, within_s=60.0)
    assert store.asked == 1


async def test_it_gives_up() -> None:
    store = Store(silent=float("inf"))
    began_s = time.monotonic()
    await meet(store.ping, within_s=0.3)
    assert time.monotonic() - began_s >= 0.3
    assert store.asked >= 2
