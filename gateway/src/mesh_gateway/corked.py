"""A transport that sends what is written in one turn of the loop together.

The head and the body of a response are two writes, and each would be a system call, which takes
longer than most of what the gateway does for a request.
"""

import asyncio
from typing import Final

# No more than this waits for the end of the turn: what feels the transport's limits must be there.
_MOST_BYTES: Final = 64 * 1024


class CorkedTransport:
    """Stands before a transport, as much of it as the server uses.

    Args:
        transport: does the sending.
        loop: whose turns they are.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        self._size = 0
        self.get_extra_info = transport.get_extra_info
        self.is_closing = transport.is_closing
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def write(self, data: bytes) -> None:
        """Sends bytes at the end of this turn, or at once where many wait."""
        if not self._parts:
            self._loop.call_soon(self.flush)
        self._parts.append(data)
        self._size += len(data)
        if self._size > _MOST_BYTES:
            self.flush()

    def close(self) -> None:
        """Closes the connection once everything is sent."""
        self.flush()
        self._transport.close()

    def write_eof(self) -> None:
        """Closes this side of the connection once everything is sent."""
        self.flush()
        self._transport.write_eof()

    def flush(self) -> None:
        """Sends what waits now: nothing more is coming in this turn."""
        if self._parts:
            data = b"".join(self._parts)
            self._parts.clear()
            self._size = 0
            self._transport.write(data)
