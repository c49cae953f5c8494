"""The HTTP server: uvicorn inside this process, started and drained as any server of the mesh."""

import asyncio
import contextlib
import functools
import logging
import math
import socket
import ssl
import sys
from asyncio import sslproto
from collections.abc import Iterator, Mapping
from typing import Any

import uvicorn
from starlette.types import Message, Receive, Scope, Send

from mesh_gateway.acceptor import Acceptor
from mesh_gateway.http_app import HttpApp
from mesh_gateway.http_protocol import protocol
from mesh_gateway.readiness import Drain
from mesh_gateway.rounds import Rounds
from mesh_gateway.settings import Settings
from meshkit.errors import StartError

_BACKLOG = 2048
# What asyncio reads at once of a TLS connection, and keeps for it while it is idle: two records.
# Its own 256 KiB let a stranger fill the memory with idle connections.
_TLS_BUFFER_BYTES = 32 * 1024
_log = logging.getLogger(__name__)


class HttpServer:
    """Serves an application over HTTP/1.1 on one port.

    Args:
        http: what answers.
        settings: address and limits.
        drain: told when the server leaves.
        context: for TLS; None for none.

    Raises:
        TypeError: the loop that runs has no rounds.
    """

    def __init__(
        self,
        http: HttpApp,
        settings: Settings,
        drain: Drain,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._app = http.application
        self._drain = drain
        self._settings = settings
        rounds = Rounds.of(asyncio.get_running_loop())
        self._server = _Server(
            uvicorn.Config(
                self._answer,
                interface="asgi3",
                http=protocol(
                    http.direct, rounds, settings.max_header_bytes, settings.header_timeout_s
                ),
                loop="none",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                # asyncio resumes reading in the context of the request that asked for it, and what
                # is read next would have that one's deadline (python/cpython#140947).
                reset_contextvars=True,
                timeout_keep_alive=settings.keep_alive_timeout_s,
            ),
            rounds.callers,
            _tls(context, settings) if context else {},
        )
        self._serving: asyncio.Task[None] | None = None
        # What it says of starting and stopping this class says itself; of refused connections,
        # which anybody can make many of, a metric does.
        logging.getLogger("uvicorn").setLevel(logging.ERROR)

    async def start(self) -> None:
        """Opens the port.

        Raises:
            StartError: another process listens there.
        """
        listener = listen(self._settings.bind_address, self._settings.http_port)
        _drop_who_does_not_read(listener, self._settings.stream_idle_timeout_s)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        await self._server.listening.wait()
        address = f"{self._settings.bind_address}:{self._settings.http_port}"
        extra = {"address": address, "tls": self._server.tls != {}}
        _log.info("serving HTTP", extra=extra)

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


def _drop_who_does_not_read(listener: socket.socket, timeout_s: float) -> None:
    """Has the kernel end connections whose peer takes nothing of what was sent for so long.

    Nobody else would: closing waits until what is buffered has gone.
    """
    if sys.platform == "linux":
        listener.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, math.ceil(timeout_s * 1000)
        )


def _tls(context: ssl.SSLContext, settings: Settings) -> Mapping[str, Any]:
    """What asyncio needs to know of TLS on a port."""
    sslproto.SSLProtocol.max_size = _TLS_BUFFER_BYTES
    return {
        "ssl": context,
        "ssl_handshake_timeout": settings.header_timeout_s,
        # From closing to the end, what is still to be sent included.
        "ssl_shutdown_timeout": settings.stream_idle_timeout_s,
    }


class _Server(uvicorn.Server):
    """Leaves the signals to the process, has more to say of TLS, and says when it listens."""

    def __init__(self, config: uvicorn.Config, callers: set[int], tls: Mapping[str, Any]) -> None:
        super().__init__(config)
        self._callers = callers
        self.tls = tls
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens; uvicorn's own would leave the times of handshakes and farewells to asyncio."""
        protocol_type: Any = self.config.http_protocol_class
        connection = functools.partial(
            protocol_type,
            config=self.config,
            server_state=self.server_state,
            app_state={},
        )
        acceptors: Any = [
            Acceptor(each, connection, self._callers, self.tls) for each in sockets or ()
        ]
        self.servers = acceptors
        self.started = True
        self.listening.set()
