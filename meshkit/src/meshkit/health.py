"""The standard health service (grpc.health.v1), whose watches can be ended, and a port for it."""

import asyncio
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2_grpc

from meshkit import channels

_MOST_CALLS: Final = 256


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


class HealthPort:
    """Serves the health service and nothing else on a port without TLS.

    A kubelet's gRPC probes speak no TLS and have no certificate.

    Args:
        health: what is served, on other ports too.
        address: `host:port`.

    Raises:
        StartError: another process listens there.
    """

    def __init__(self, health: Health, address: str) -> None:
        self._server = grpc.aio.server(
            options=channels.health_server_options(), maximum_concurrent_rpcs=_MOST_CALLS
        )
        health_pb2_grpc.add_HealthServicer_to_server(health, self._server)
        channels.listen(self._server, address, None, "health_port")

    async def start(self) -> None:
        """Answers from now on."""
        await self._server.start()

    async def stop(self) -> None:
        """Closes the port."""
        await self._server.stop(None)
