"""What both kinds of dispatch streams share at their ends (mesh.dispatch.v1).

`dispatch` carries calls with one answer; `dispatch_streams` and `stream_sessions` carry those whose
answer is a stream.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, Final, Generic, Protocol, TypeVar

import grpc

from mesh.dispatch.v1 import dispatch_pb2
from meshkit import channels
from meshkit.errors import MeshError, Overloaded, PayloadTooLarge, Unavailable, Unimplemented
from meshkit.interceptors import Handler

MAX_PAYLOAD_BYTES: Final = 256 * 1024
"""A larger payload is a call of its own: on the stream it would delay its neighbours."""
MAX_OUTSTANDING: Final = 1024
"""Most calls that a caller has in flight on one stream; it refuses further ones itself."""
LOT_BYTES: Final = 1024 * 1024
"""A message is closed once it holds this much."""
DRAINING: Final = "REPLICA_DRAINING"
"""The reason of calls that never began: they may go to another replica, whatever they do."""
NOT_SENT: Final = "NOT_SENT"
"""The same, of calls that have not even left."""
CONNECTION_LOST: Final = "CONNECTION_LOST"
"""The reason of calls that may have begun."""
# What a message costs beside what it holds: ids, tags and lengths of as many as are outstanding.
_FRAME_BYTES: Final = 16 * 1024


def most_bytes(max_message_bytes: int) -> int:
    """What the calls or replies of one message may come to: gRPC ends the stream over a larger."""
    return channels.internal_message_bytes(max_message_bytes) - _FRAME_BYTES


class Request(Protocol):
    """What the messages to a replica have, of either kind."""

    @property
    def calls(self) -> Iterable[dispatch_pb2.Call]:
        """Calls that begin."""

    @property
    def cancels(self) -> Iterable[int]:
        """Ids of calls that nobody waits for."""


RequestT = TypeVar("RequestT", bound=Request)
ResponseT = TypeVar("ResponseT")
R = TypeVar("R")
Write = Callable[[ResponseT], Awaitable[None]]


class Sessions(ABC, Generic[RequestT, ResponseT, R]):
    """The replica's end: answers the calls of every stream with the handlers of its methods.

    Args:
        handlers: by method, `package.Service/Method`.
        max_calls: most calls in flight over all streams; further ones are refused as overloaded.
        max_message_bytes: the mesh's limit for public messages.
    """

    def __init__(
        self, handlers: Mapping[str, Handler[R]], max_calls: int, max_message_bytes: int
    ) -> None:
        self._handlers = handlers
        self._max_calls = max_calls
        self._most_bytes = most_bytes(max_message_bytes)
        self._sessions: set[Session[RequestT, ResponseT, R]] = set()
        self._draining = False

    @abstractmethod
    def _session(self, write: Write[ResponseT]) -> Session[RequestT, ResponseT, R]:
        """A session that has just begun."""

    async def serve(
        self,
        requests: AsyncIterable[RequestT],
        context: grpc.aio.ServicerContext[RequestT, ResponseT],
    ) -> None:
        """Serves one stream until its caller closes it or the replica drains.

        A caller that goes away cancels this coroutine, and with it the calls in flight.
        """
        session = self._session(context.write)
        self._sessions.add(session)
        try:
            if self._draining:
                session.drain()
            await session.run(requests)
        finally:
            self._sessions.discard(session)

    def _check_load(self) -> None:
        if sum(session.in_flight for session in self._sessions) >= self._max_calls:
            raise Overloaded(f"{self._max_calls} calls are in flight at the replica")

    def drain(self) -> None:
        """Refuses new calls from now on; each stream ends once its calls in flight are answered."""
        self._draining = True
        for session in self._sessions:
            session.drain()


class Session(ABC, Generic[RequestT, ResponseT, R]):
    """One stream at the replica.

    Args:
        handlers: by method.
        write: sends a message.
        check_load: raises `Overloaded` where a call is one too many.
        most: bytes that a message may come to.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler[R]],
        write: Write[ResponseT],
        check_load: Callable[[], None],
        most: int,
    ) -> None:
        self._handlers = handlers
        self._write = write
        self._check_load = check_load
        self._most_bytes = most
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._draining = False
        self._ended = asyncio.Event()
        self._answered = False

    @property
    def in_flight(self) -> int:
        """Calls that have begun and not ended."""
        return len(self._tasks)

    async def run(self, requests: AsyncIterable[RequestT]) -> None:
        """Answers calls until there come no more, and all are answered."""
        async with asyncio.TaskGroup() as group:
            reader = group.create_task(self._read(requests, group))
            writer = group.create_task(self._write_answers())
            await self._ended.wait()
            reader.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            self._answered = True
            self._nudge()
            await writer

    def drain(self) -> None:
        """Refuses new calls, and ends when those in flight are answered."""
        self._draining = True
        self._end_if_drained()

    @abstractmethod
    def _answer(self, call: dispatch_pb2.Call, handler: Handler[R]) -> Coroutine[Any, Any, None]:
        """Answers a call that is accepted."""

    @abstractmethod
    def _refuse(self, call_id: int, error: MeshError) -> None:
        """Ends a call with an error."""

    @abstractmethod
    async def _write_answers(self) -> None:
        """Writes answers until all that were accepted are written."""

    @abstractmethod
    def _nudge(self) -> None:
        """Has the writer look whether it is done."""

    def _note(self, request: RequestT) -> None:
        """Takes what else a message says; called before its calls are accepted."""

    def _end_if_drained(self) -> None:
        if self._draining and not self._tasks:
            self._ended.set()

    async def _read(self, requests: AsyncIterable[RequestT], group: asyncio.TaskGroup) -> None:
        async for request in requests:
            for call_id in request.cancels:
                if task := self._tasks.get(call_id):
                    task.cancel()
            self._note(request)
            for call in request.calls:
                self._accept(call, group)
        self._ended.set()

    def _accept(self, call: dispatch_pb2.Call, group: asyncio.TaskGroup) -> None:
        try:
            handler = self._handlers.get(call.method.removeprefix("/"))
            if handler is None:
                raise Unimplemented(f"method {call.method!r} is not served here")
            if self._draining:
                raise Unavailable(
                    "the replica is shutting down; send the call again", reason=DRAINING
                )
            self._check_load()
        except MeshError as error:
            self._refuse(call.id, error)
            return
        task = self._tasks[call.id] = group.create_task(self._answer(call, handler))
        task.add_done_callback(lambda _: self._forget(call.id))

    def _forget(self, call_id: int) -> None:
        del self._tasks[call_id]
        self._end_if_drained()

    def _check_size(self, what: str, payload: bytes) -> None:
        """Refuses what gRPC would end the stream for, and every other call on it."""
        if len(payload) > self._most_bytes:
            raise PayloadTooLarge(
                f"{what} has {len(payload)} bytes and a service may send {self._most_bytes} "
                "(MESH_MAX_MESSAGE_BYTES); ask for less at a time"
            )


class CallerEnd(ABC, Generic[RequestT, ResponseT]):
    """The caller's end: one stream to one replica, opened with a call where none is open."""

    def __init__(self) -> None:
        self._runner: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Ends the stream; calls in flight fail as unavailable."""
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)

    @abstractmethod
    def _opened(self) -> grpc.aio.StreamStreamCall[RequestT, ResponseT]:
        """The stream."""

    @abstractmethod
    async def _write(self, stream: grpc.aio.StreamStreamCall[RequestT, ResponseT]) -> None:
        """Writes what waits to be written, until cancelled."""

    @abstractmethod
    def _take(self, response: ResponseT) -> None:
        """Takes a message of the replica."""

    @abstractmethod
    def _fail_all(self, error: Callable[[bool], Unavailable]) -> None:
        """Fails every call in flight; `error` is told whether it has not been sent."""

    def _begin(self) -> None:
        """Opens the stream where none is open."""
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())

    async def _run(self) -> None:
        stream = self._opened()
        reason, cause = CONNECTION_LOST, "the stream was closed"
        try:
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(self._write(stream))
                async for response in stream:
                    self._take(response)
                # The replica ended the stream in good order: what it left unanswered never began.
                reason, cause = DRAINING, "the replica is shutting down"
                writer.cancel()
        except* grpc.aio.AioRpcError as errors:
            cause = "; ".join(str(_details(error)) for error in errors.exceptions)
        except* asyncio.InvalidStateError:
            cause = "the stream ended while a call was being written"
        finally:
            stream.cancel()
            self._runner = None
            self._fail_all(lambda unsent: _lost(cause, NOT_SENT if unsent else reason))


def _lost(cause: str, reason: str) -> Unavailable:
    return Unavailable(f"the connection to the replica ended: {cause}", reason=reason)


def _details(error: BaseException) -> str | None:
    return error.details() if isinstance(error, grpc.aio.AioRpcError) else str(error)
