"""A connection to Redis that many trips share, each of them one write and one read.

The library's own streams, tasks and timeouts cost several times what Redis takes to answer. It
still opens the connection, since it knows what addresses, passwords and TLS want.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeAlias, cast

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import BusyLoadingError, NoScriptError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

Command: TypeAlias = tuple[str | int | float, ...]
"""The name of a command and its arguments."""
_NOT_YET: Final = object()
# Its types know of commands without arguments alone.
_pack: Final = cast(Callable[[Command], bytes], cast(Any, hiredis.pack_command))


@dataclass(slots=True)
class _Trip:
    commands: int
    future: asyncio.Future[list[Any]]
    bound: asyncio.TimerHandle
    answers: list[Any] = field(default_factory=list)


class Pipe(asyncio.Protocol):
    """An open connection; answers come in the order of the commands. `open` makes one."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._reader = hiredis.Reader(
            encoding="utf-8",
            replyError=_error,
            notEnoughData=_NOT_YET,
            protocolError=RedisConnectionError,
        )
        self._under_way: deque[_Trip] = deque()
        # The library has no other way to it, and the writer closes it when it is dropped.
        self._writer = connection._writer
        self._transport = cast(asyncio.Transport, cast(Any, self._writer).transport)
        self._transport.set_protocol(self)
        # To the library it is closed: it would warn of one that is dropped while it is open.
        connection._reader = connection._writer = None

    @classmethod
    async def open(cls, connection: AbstractConnection) -> Self:
        """Opens a connection and takes it over from the library.

        Raises:
            RedisError: Redis can't be reached, or refuses it.
            OSError: the same.
        """
        await connection.connect()  # type: ignore[no-untyped-call]  # the library leaves it so
        return cls(connection)

    @property
    def usable(self) -> bool:
        """Whether it is open."""
        return not self._transport.is_closing()

    def send(
        self, commands: Sequence[Command], until_s: float, late: Exception
    ) -> asyncio.Future[list[Any]]:
        """Sends commands together.

        Args:
            commands: that are answered in their order.
            until_s: on the loop's clock, when a Redis that has not answered is given up.
            late: the error of that.

        Returns:
            Their answers, in their order; an error of Redis is an answer. Fails with
            `redis.exceptions.ConnectionError` where the connection ends before, or with `late`. May
            be cancelled: the answers are then dropped as they come.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Any]] = loop.create_future()
        bound = loop.call_at(until_s, self.end, late)
        self._under_way.append(_Trip(len(commands), future, bound))
        # What the library does in Python takes as long as half of a request.
        self._transport.write(b"".join(map(_pack, commands)))
        return future

    def data_received(self, data: bytes) -> None:
        """Takes answers, or parts of them."""
        self._reader.feed(data)
        while self._under_way:
            try:
                answer = self._reader.gets()
            except RedisConnectionError as error:
                self.end(error)
                return
            if answer is _NOT_YET:
                return
            trip = self._under_way[0]
            trip.answers.append(answer)
            if len(trip.answers) == trip.commands:
                self._under_way.popleft()
                trip.bound.cancel()
                if not trip.future.done():
                    trip.future.set_result(trip.answers)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fails what waits for answers."""
        self._fail(RedisConnectionError("Redis closed the connection"))

    def end(self, error: Exception) -> None:
        """Closes the connection at once; what waits for answers fails with `error`."""
        self._transport.abort()
        self._fail(error)

    def _fail(self, error: Exception) -> None:
        while self._under_way:
            trip = self._under_way.popleft()
            trip.bound.cancel()
            if not trip.future.done():
                trip.future.set_exception(error)


def _error(text: str) -> Exception:
    """What Redis says that a command has ended with, as the library has it."""
    kind, _, _ = text.partition(" ")
    return {"NOSCRIPT": NoScriptError, "LOADING": BusyLoadingError}.get(kind, ResponseError)(text)
