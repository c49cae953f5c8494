"""A TLS transport that closes as the server expects of a transport."""

import asyncio
import fcntl
import struct
import sys
import termios
from typing import Final, cast

# A caller that reads nothing more does not answer the farewell of TLS either.
_FAREWELL_S: Final = 1.0


class TlsTransport:
    """Stands before a transport of asyncio's, as much of it as the server uses.

    Args:
        transport: speaks TLS.
        loop: that it belongs to.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._socket = transport.get_extra_info("socket")
        self.get_extra_info = transport.get_extra_info
        self.is_closing = transport.is_closing
        self.write = transport.write

    def pause_reading(self) -> None:
        """Delivers nothing from now on."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Delivers again what comes in."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def write_eof(self) -> None:
        """Nothing: asyncio closes no side of TLS alone, and a response says where it ends."""

    def close(self) -> None:
        """Closes the connection once everything is sent, and does not wait long for a farewell."""
        if not self._transport.is_closing():  # asyncio's forgets its connection the second time
            self._transport.close()
            self._loop.call_later(_FAREWELL_S, self._end)

    def _end(self) -> None:
        if self._socket.fileno() < 0:  # closed meanwhile
            return
        if self._unsent():
            self._loop.call_later(_FAREWELL_S, self._end)
        else:
            self._transport.abort()

    def _unsent(self) -> bool:
        """Whether the peer has not taken everything yet; what waits here waits behind that.

        Where the system does not say, the transport's own time limit is waited for.
        """
        if sys.platform != "linux":
            return True
        found = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(4))
        (size,) = struct.unpack("i", found)
        return bool(size)


def closing_in_time(
    transport: asyncio.Transport, loop: asyncio.AbstractEventLoop
) -> asyncio.Transport:
    """The transport itself where it does not speak TLS, else one that closes as plain ones do."""
    if transport.get_extra_info("sslcontext") is None:
        return transport
    return cast(asyncio.Transport, TlsTransport(transport, loop))
