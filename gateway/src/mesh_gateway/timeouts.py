"""The longest pause of a stream, at both doors."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from meshkit.errors import DeadlineExceeded

T = TypeVar("T")


async def in_time(step: Awaitable[T], most_s: float, late: str) -> T:
    """Awaits one step of a stream.

    Args:
        step: to be awaited.
        most_s: seconds that it may take.
        late: what to say if it takes longer.

    Raises:
        DeadlineExceeded: it took longer.
    """
    timeout = asyncio.timeout(most_s)
    try:
        async with timeout:
            return await step
    except TimeoutError:
        if timeout.expired():
            raise DeadlineExceeded(
                f"{late} for {most_s:g} s (MESH_GATEWAY_STREAM_IDLE_TIMEOUT_S); ask again",
                reason="STREAM_IDLE",
            ) from None
        raise
