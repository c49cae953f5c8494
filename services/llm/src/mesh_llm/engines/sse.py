"""Server-sent events out of a stream of bytes, however it is cut.

Source: WHATWG HTML, section 9.2.6, "Interpreting an event stream"; only `data` is of use here.
"""

from collections.abc import AsyncIterator
from typing import Final

MAX_EVENT_BYTES: Final = 4 * 1024 * 1024
"""Longest event; a peer that sends a longer one sends no events."""


class NoEventStream(Exception):
    """What comes is no stream of events."""


class EventReader:
    """Finds the events; takes bytes as they come."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[str] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[str]:
        """The data of each event that is whole by now.

        Raises:
            NoEventStream: an event is too long, or no UTF-8.
        """
        self._line += chunk
        self._size += len(chunk)
        if self._size > MAX_EVENT_BYTES:
            raise NoEventStream(f"an event has over {MAX_EVENT_BYTES} bytes")
        *lines, rest = self._line.replace(b"\r\n", b"\n").split(b"\n")
        self._line = rest
        return [event for line in lines if (event := self._take(line)) is not None]

    def _take(self, line: bytearray) -> str | None:
        if not line:
            event = "\n".join(self._data)
            had_data = bool(self._data)
            self._data, self._size = [], len(self._line)
            return event if had_data else None
        field, _, value = line.partition(b":")
        if field == b"data":
            try:
                self._data.append(value.removeprefix(b" ").decode())
            except UnicodeDecodeError as error:
                raise NoEventStream("an event is no UTF-8") from error
        return None


async def events(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """The data of each event of a stream of bytes; raises as `EventReader.feed`."""
    reader = EventReader()
    async for chunk in chunks:
        for event in reader.feed(chunk):
            yield event
