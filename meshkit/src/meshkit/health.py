"""The standard health service (grpc.health.v1), whose watches can be ended."""

import asyncio
from typing import Any

from grpc_health.v1 import health


class Health(health.aio.HealthServicer):
    """Answers Check and Watch. An open Watch would hold a server's stop, so it can be ended."""

    def __init__(self) -> None:
        super().__init__()
        self._ended = asyncio.Event()

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: N802  # the library's name
        """Tells of the health of a service until the caller leaves or `end_watches` is called."""
        # A handler that is cancelled leaves its call open, so the watch is one task and its end
        # another.
        watch = asyncio.ensure_future(super().Watch(request, context))
        end = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait([watch, end], return_when=asyncio.FIRST_COMPLETED)
            if watch.done():
                await watch
        finally:
            watch.cancel()
            end.cancel()
            await asyncio.gather(watch, end, return_exceptions=True)

    def end_watches(self) -> None:
        """Ends every open Watch."""
        self._ended.set()
