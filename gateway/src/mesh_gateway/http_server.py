"""The HTTP server: uvicorn inside this process, started and drained as any server of the mesh."""

import asyncio
import contextlib
import logging
import math
import secrets
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from mesh_gateway import problems
from mesh_gateway.readiness import Drain
from mesh_gateway.settings import Settings
from meshkit import names
from meshkit.errors import InvalidArgument, StartError
from meshkit.renderings import http_status

_BACKLOG = 2048
# What a header costs beside its text, as HPACK reckons it (RFC 7541, section 4.1).
_HEADER_OVERHEAD_BYTES = 32
_log = logging.getLogger(__name__)


class HttpServer:
    """Serves an application over HTTP/1.1 on one port.

    Args:
        app: the application.
        settings: address and limits.
        drain: told when the server leaves.
    """

    def __init__(self, app: ASGIApp, settings: Settings, drain: Drain) -> None:
        self._app = app
        self._drain = drain
        self._settings = settings
        self._server = _Server(
            uvicorn.Config(
                self._answer,
                interface="asgi3",
                http=_protocol(settings.max_header_bytes),
                loop="none",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=settings.keep_alive_timeout_s,
            )
        )
        self._serving: asyncio.Task[None] | None = None
        # What it says of starting and stopping, this class says itself.
        logging.getLogger("uvicorn").setLevel(logging.WARNING)

    async def start(self) -> None:
        """Opens the port.

        Raises:
            StartError: another process listens there.
        """
        listener = listen(self._settings.bind_address, self._settings.http_port)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        await self._server.listening.wait()
        address = f"{self._settings.bind_address}:{self._settings.http_port}"
        _log.info("serving HTTP", extra={"address": address})

    async def leave(self) -> None:
        """Serves on, and asks every caller to make its next connection elsewhere."""
        self._drain.leaving = True

    async def stop(self, timeout_s: float) -> None:
        """Accepts no more and finishes what is in flight, within `timeout_s`."""
        self._server.config.timeout_graceful_shutdown = math.ceil(timeout_s)
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def closing_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await self._app(scope, receive, closing_send if self._drain.leaving else send)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    It is made with its protocol: asyncio turns Nagle's algorithm off only where that is TCP, and
    with it every response, whose head and body are two writes, would wait 40 ms in the middle.

    Raises:
        StartError: another process listens there, or the address is not this machine's.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise StartError(
            f"can't listen on {host}:{port}: {error.strerror}; free the port or set another "
            "MESH_GATEWAY_HTTP_PORT"
        ) from error
    return listener


class _Server(uvicorn.Server):
    """Leaves the signals to the process, and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


class _HeadTooLarge(Exception):
    """Stops the parser."""


class _Protocol(HttpToolsProtocol):
    """Bounds the request line and headers, which httptools does not, and answers in problems.

    Two counts, since the parser hands a header over only once it is complete: what the finished
    ones hold, and what has come in while the section is not finished.
    """

    most_head_bytes = 0

    _in_head = True
    _head_bytes = 0
    _received_bytes = 0

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_bytes = self._received_bytes = 0
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
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._received_bytes += len(data)
            if self._received_bytes > self.most_head_bytes:
                self._refuse_head()

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
        request_id = secrets.token_hex(16)
        error = InvalidArgument(message, reason=reason)
        content = problems.encode(error, instance="", request_id=request_id)
        _log.warning("refused a connection: %s", message, extra={"request_id": request_id})
        head = (
            f"content-type: {problems.MEDIA_TYPE}\r\ncontent-length: {len(content)}\r\n"
            f"{names.REQUEST_ID}: {request_id}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(STATUS_LINE[http_status(error)] + head.encode() + content)
        self.transport.close()


def _protocol(most_head_bytes: int) -> type[asyncio.Protocol]:
    return type("_BoundProtocol", (_Protocol,), {"most_head_bytes": most_head_bytes})
