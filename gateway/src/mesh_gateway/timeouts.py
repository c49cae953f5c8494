"""The longest pause of a stream, at both doors."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from meshkit import deadline
from meshkit.deadline import Deadline
from meshkit.errors import DeadlineExceeded

T = TypeVar("T")


async def in_time(step: Awaitable[T], most_s: float, late: str, limit: Deadline | None = None) -> T:
    """Awaits one step of a stream.

    Args:
        step: to be awaited.
        most_s: seconds that it may take.
        late: what to say if it takes longer.
        limit: the deadline of the stream; None where somebody else keeps to it.

    Raises:
        DeadlineExceeded: it took longer, or the deadline of the stream passed.
    """
    bounded_s = min(most_s, limit.remaining_s) if limit else most_s
    timeout = asyncio.timeout(bounded_s)
    try:
        async with timeout:
            return await step
    except TimeoutError:
        if not timeout.expired():
            raise
        if bounded_s < most_s:
            raise deadline.passed() from None
        raise DeadlineExceeded(
            f"{late} for {most_s:g} s (MESH_GATEWAY_STREAM_IDLE_TIMEOUT_S); ask again",
            reason="STREAM_IDLE",
        ) from None
