"""Takes the connections of a listening socket.

asyncio's own server takes one number for how many it accepts in a row and for how often it begins
anew when the process may open no more files: each failure is logged, and tried again on its own
after a second, so that of many there come ever more. With one in a row, callers of a gateway that
is busy wait a turn of its loop for each one before them, and seconds where a thousand come.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final

_MOST_AT_ONCE: Final = 64
"""Connections that are accepted in a row: a fraction of what a turn of the loop takes."""
_RETRY_S: Final = 1.0
_log = logging.getLogger(__name__)


class Acceptor:
    """Accepts connections until it is closed.

    Args:
        listener: a socket that listens; it is not closed here.
        protocol: makes what serves one connection.
        callers: the descriptors that callers are on; the protocol takes theirs out as they end.
        tls: arguments of `loop.connect_accepted_socket` for TLS; empty for none.
    """

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        callers: set[int],
        tls: Mapping[str, Any],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._protocol = protocol
        self._callers = callers
        self._tls = tls
        self._beginning: dict[asyncio.Task[None], socket.socket] = {}
        self._retry: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        callers.add(listener.fileno())
        self._begin()

    def close(self) -> None:
        """Accepts no more; connections that there are go on."""
        self._loop.remove_reader(self._listener)
        self._callers.discard(self._listener.fileno())
        if self._retry is not None:
            self._retry.cancel()

    async def wait_closed(self) -> None:
        """Ends handshakes that go on."""
        beginning = [*self._beginning]
        for task in beginning:
            task.cancel()
        await asyncio.gather(*beginning, return_exceptions=True)

    def _begin(self) -> None:
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(_MOST_AT_ONCE):
            try:
                connection, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Of files or memory; others may go meanwhile.
                _log.error("can't accept a connection: %s; trying again", error.strerror)
                self._loop.remove_reader(self._listener)
                self._retry = self._loop.call_later(_RETRY_S, self._begin)
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._serve(connection))
            self._beginning[task] = connection
            task.add_done_callback(self._begun)

    async def _serve(self, connection: socket.socket) -> None:
        descriptor = connection.fileno()
        self._callers.add(descriptor)
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection, **self._tls)
        except OSError as error:  # a handshake that fails is the stranger's business
            # Where somebody has got the descriptor meanwhile, that one waits for nobody: no harm.
            self._callers.discard(descriptor)
            _log.debug("a connection did not come about: %s", error)

    def _begun(self, task: asyncio.Task[None]) -> None:
        connection = self._beginning.pop(task)
        if task.cancelled():  # before its first step, maybe, and then nothing else would
            connection.close()
