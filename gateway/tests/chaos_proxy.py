"""A TCP proxy that is slow, silent or gone at will, in a thread of its own."""

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, Self

from processes import PATIENCE_S

_CHUNK_BYTES: Final = 64 * 1024
_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """Stands before a server. Use it as a context manager.

    Args:
        target_port: of the server, on this machine.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._delay_s = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._flowing = asyncio.Event()
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self.pass_on()
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    def pass_on(self, delay_s: float = 0.0) -> None:
        """Lets bytes through from now on, each so many seconds late; those it held back first."""
        self._do(self._pass_on(delay_s))

    def stall(self) -> None:
        """Accepts connections and bytes, and passes nothing on."""
        self._do(self._stall())

    def cut(self) -> None:
        """Breaks every connection; new ones pass."""
        self._do(self._cut())

    def refuse(self) -> None:
        """Breaks every connection and accepts no more."""
        self._do(self._refuse())

    def _do(self, step: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(step, self._loop).result(PATIENCE_S)

    async def _pass_on(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._flowing.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = int(self._server.sockets[0].getsockname()[1])

    async def _stall(self) -> None:
        await self._pass_on(0.0)
        self._flowing.clear()

    async def _cut(self) -> None:
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._connect((reader, writer)))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _connect(self, caller: _Streams) -> None:
        """Passes on both ways until either side ends."""
        open_ends = [caller[1]]
        with suppress(OSError):
            try:
                server = await asyncio.open_connection("127.0.0.1", self._target_port)
                open_ends.append(server[1])
                ways = [
                    asyncio.create_task(self._carry(caller[0], server[1])),
                    asyncio.create_task(self._carry(server[0], caller[1])),
                ]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)
            finally:
                for end in open_ends:
                    end.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(16)
        delivery = asyncio.create_task(self._deliver(late, writer))
        try:
            while chunk := await reader.read(_CHUNK_BYTES):
                await late.put((self._loop.time() + self._delay_s, chunk))
        finally:
            delivery.cancel()

    async def _deliver(
        self, late: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        while True:
            due_s, chunk = await late.get()
            await asyncio.sleep(due_s - self._loop.time())
            await self._flowing.wait()
            writer.write(chunk)
            await writer.drain()
