"""One request on its connection, and its response on the way out."""

from collections.abc import Iterable
from typing import Final, cast

from starlette.types import Message, Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from mesh_gateway.departure import Departure

_BODILESS: Final = (204, 304)


class Cycle(RequestResponseCycle):
    """Sends the head of a response together with the first part of its body, as ASGI lets it.

    uvicorn's own sends them apart. Each is a system call, and wakes the caller for nothing.
    """

    _head = b""

    def leave(self) -> None:
        """Says that the caller is gone."""
        self.disconnected = True
        self.message_event.set()
        Departure.of(cast(Scope, self.scope)).happen()

    async def send(self, message: Message) -> None:  # type: ignore[override]  # its types are uvicorn's own
        """Takes a message of the application.

        Raises:
            RuntimeError: the application does not keep to ASGI, to HTTP, or to its own
                `content-length`.
        """
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.start" and not self.response_started:
            self.response_started = True
            self.waiting_for_100_continue = False
            self._head = self._begin(message["status"], message.get("headers", ()))
        elif (
            message["type"] == "http.response.body"
            and self.response_started
            and not self.response_complete
        ):
            self._send_body(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"{message['type']} is not what comes next in a response")

    def _begin(self, status: int, own: Iterable[tuple[bytes, bytes]]) -> bytes:
        headers = [*self.default_headers, *own]
        for name, value in headers:
            if name == b"content-length":
                self.expected_content_length = int(value)
                self.chunked_encoding = False
            elif name == b"connection" and value.lower() == b"close":
                self.keep_alive = False
        lines = [b"%b: %b\r\n" % header for header in headers]
        if not self.keep_alive and (b"connection", b"close") not in headers:
            lines.append(b"connection: close\r\n")
        bodiless = self.scope["method"] == "HEAD" or status in _BODILESS
        if self.chunked_encoding is None and not bodiless:
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked\r\n")
        head = STATUS_LINE[status] + b"".join(lines)
        if not head.count(b"\r") == head.count(b"\n") == len(lines) + 1:
            raise RuntimeError("a header of the response has a line break")
        return head + b"\r\n"

    def _send_body(self, body: bytes, *, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
            body = b""
        elif self.chunked_encoding:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not more:
                body += b"0\r\n\r\n"
        else:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0:
                raise RuntimeError("the response is longer than its content-length")
        head, self._head = self._head, b""
        self.transport.write(head + body)
        if not more:
            self._complete()

    def _complete(self) -> None:
        if self.expected_content_length:
            raise RuntimeError("the response is shorter than its content-length")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
