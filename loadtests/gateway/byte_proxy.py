"""The bare proxy that the gRPC door is compared with: grpc.aio, bytes in and bytes out, no more.

    TARGET=127.0.0.1:50061 PORT=8091 gateway/.venv/bin/python loadtests/gateway/byte_proxy.py

Tuned as the door is: its garbage collector leaves alone what was there at the start.
"""

from __future__ import annotations

import asyncio
import gc
import os
from typing import Any

import grpc

TIMEOUT_S = 10.0


class Proxy(grpc.GenericRpcHandler):
    """Passes on every call as it is."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {}

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """The handler of a method."""
        method = str(details.method)
        if method not in self._methods:
            call = self._channel.unary_unary(method)

            async def passed_on(payload: bytes, context: Any) -> bytes:
                answer: bytes = await call(payload, timeout=TIMEOUT_S)
                return answer

            self._methods[method] = grpc.unary_unary_rpc_method_handler(passed_on)  # type: ignore[arg-type]  # the stubs know of synchronous handlers alone
        return self._methods[method]


async def main() -> None:
    """Serves until it is ended."""
    async with grpc.aio.insecure_channel(os.environ["TARGET"]) as channel:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((Proxy(channel),))
        server.add_insecure_port(f"127.0.0.1:{os.environ['PORT']}")
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 50, 1000)
        await server.start()
        await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
