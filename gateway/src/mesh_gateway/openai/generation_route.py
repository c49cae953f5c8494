"""Routes whose answer is whole or a stream, whichever a request wants."""

import re
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final, Protocol, TypeAlias

from starlette.types import Receive, Scope, Send

from mesh_gateway import bodies
from mesh_gateway.direct import Body, WholeRoute
from mesh_gateway.exchange import Exchange
from mesh_gateway.openapi import Operation
from mesh_gateway.streaming import send_events
from meshkit.errors import MeshError

_NO_STREAM: Final = re.compile(rb'"stream":\s?false')


class Begun(Protocol):
    """An answer that has begun, to be told once."""

    @property
    def stream(self) -> bool:
        """Whether it is told as it grows."""

    async def whole(self) -> bytes:
        """All of it, as JSON.

        Raises:
            MeshError: it has broken off.
        """

    def events(self) -> AsyncGenerator[bytes, None]:
        """The events of a stream, as it grows.

        Raises:
            MeshError: it has broken off.
        """

    def error(self, error: MeshError) -> bytes:
        """The last event of a stream that has broken off."""


Begin: TypeAlias = Callable[[Exchange, Body], AbstractAsyncContextManager[Begun]]
"""Begins the answer to a request; leaving the block ends it."""


class GenerationRoute(WholeRoute):
    """A route that answers in one body, or in events where `stream` says so.

    Args:
        path: of the route.
        begin: begins answers.
        operation: for the document.
        timeout_s: seconds that a request may take where the caller does not say.
        idle_timeout_s: seconds that a stream may pause.
    """

    def __init__(
        self,
        path: str,
        begin: Begin,
        operation: Operation,
        timeout_s: float,
        idle_timeout_s: float,
    ) -> None:
        async def answer(exchange: Exchange, body: Body) -> bytes:
            async with begin(exchange, body) as begun:
                return await begun.whole()

        super().__init__(path, answer, operation, timeout_s, _Either(begin, idle_timeout_s))

    def wants_whole(self, body: bytes) -> bool:
        """Whether a request surely wants one body: `stream` can't be there without being seen.

        Its letters may only be written otherwise with an escape (RFC 8259, section 7).
        """
        said = _NO_STREAM.sub(b"", body)
        return b"stream" not in said and b"\\u" not in said


class _Either:
    """Answers as an application, with a stream where a request wants one."""

    def __init__(self, begin: Begin, idle_timeout_s: float) -> None:
        self._begin = begin
        self._idle_timeout_s = idle_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = partial(bodies.read, receive)
        async with self._begin(Exchange.of(scope), body) as begun:
            if begun.stream:
                await send_events(
                    send,
                    begun.events(),
                    render_error=begun.error,
                    idle_timeout_s=self._idle_timeout_s,
                )
            else:
                await bodies.respond(send, await begun.whole())
