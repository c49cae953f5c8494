"""What uvicorn leaves open on a connection: how large a request's head may be, and how slow.

The head is the request line and the headers. httptools itself bounds neither.
"""

import asyncio
import secrets

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from mesh_gateway import problems
from meshkit import names, telemetry
from meshkit.errors import InvalidArgument
from meshkit.renderings import http_status

# What a header costs beside its text, as HPACK reckons it (RFC 7541, section 4.1).
_HEADER_OVERHEAD_BYTES = 32
_refused = telemetry.counter(
    names.HTTP_REFUSED, "{connection}", "Connections that were refused before there was a request."
)


def protocol(most_head_bytes: int, head_timeout_s: float) -> type[asyncio.Protocol]:
    """The protocol of every connection.

    Args:
        most_head_bytes: largest head.
        head_timeout_s: most seconds from the beginning of a connection or request to the end of the
            head.
    """
    limits = {"most_head_bytes": most_head_bytes, "head_timeout_s": head_timeout_s}
    return type("_LimitedProtocol", (_Protocol,), limits)


class _HeadTooLarge(Exception):
    """Stops the parser."""


class _Protocol(HttpToolsProtocol):
    """Bounds the head, and refuses in problems.

    Two counts of its size, since the parser hands a header over only once it is complete: what the
    complete ones hold, and what has come in since.
    """

    most_head_bytes: int
    head_timeout_s: float

    _in_head = True
    _messages = 0
    _head_bytes = 0
    _received_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._in_head = True
        self._messages += 1
        self._head_bytes = self._received_bytes = 0
        self._expect_head()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value) + _HEADER_OVERHEAD_BYTES)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self.most_head_bytes:
            raise _HeadTooLarge

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._forget_head()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        begun = self._messages
        super().data_received(data)
        # A head that began in this data may have only its last bytes; the next ones are all its.
        if self._in_head and begun == self._messages and not self.transport.is_closing():
            self._received_bytes += len(data)
            if self._received_bytes > self.most_head_bytes:
                self._refuse_head()

    def _expect_head(self) -> None:
        self._forget_head()
        self._head_timer = self.loop.call_later(self.head_timeout_s, self._head_is_late)

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        begun = self.cycle is not None  # None before the first request, whatever its type says
        if begun and not self.cycle.response_complete:
            # A pipelined request: its bytes are not read before the one ahead is answered.
            self._expect_head()
            return
        _refused.add(1, {names.REFUSAL: "HEADERS_LATE"})
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Called where the parser gives up."""
        if self._in_head and self._head_bytes > self.most_head_bytes:
            self._refuse_head()
        else:
            self._refuse("MALFORMED_HTTP", "the request is not valid HTTP/1.1; send one that is")

    def _refuse_head(self) -> None:
        self._refuse(
            "HEADERS_TOO_LARGE",
            f"the request line and headers are over {self.most_head_bytes} bytes "
            "(MESH_GATEWAY_MAX_HEADER_BYTES); send less",
        )

    def _refuse(self, reason: str, message: str) -> None:
        """Answers without the application, and closes: what follows can't be trusted."""
        _refused.add(1, {names.REFUSAL: reason})
        request_id = secrets.token_hex(16)
        error = InvalidArgument(message, reason=reason)
        content = problems.encode(error, instance="", request_id=request_id)
        head = (
            f"content-type: {problems.MEDIA_TYPE}\r\ncontent-length: {len(content)}\r\n"
            f"{names.REQUEST_ID}: {request_id}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(STATUS_LINE[http_status(error)] + head.encode() + content)
        self.transport.close()
