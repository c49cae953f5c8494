"""Calls that come back when a server says that it is too busy."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from meshkit import deadline
from meshkit.deadline import Deadline
from meshkit.errors import MeshError, Overloaded

T = TypeVar("T")

_CALL_TIMEOUT_S: Final = 60.0
_LEAST_WAIT_S: Final = 0.01


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Asks until the server is not too busy to answer.

    Raises:
        MeshError: it did not answer in a minute.
    """
    with deadline.scope(Deadline.after(_CALL_TIMEOUT_S)) as limit:
        while True:
            try:
                return await ask()
            except MeshError as error:
                if error.reason != Overloaded.default_reason or limit.expired:
                    raise
                await asyncio.sleep(error.retry_delay_s or _LEAST_WAIT_S)
