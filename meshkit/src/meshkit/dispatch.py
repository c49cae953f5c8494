"""Both ends of the dispatch stream (mesh.dispatch.v1): many unary calls on one gRPC stream.

A message costs as much as a call, so everything that waits while a message is being written goes
into the next one. Each call keeps a deadline, a cancellation, metadata and a status of its own.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from typing import Any, Final, Generic, Protocol, TypeVar

import grpc

from mesh.dispatch.v1 import dispatch_pb2, dispatch_pb2_grpc
from meshkit import channels
from meshkit.deadline import Deadline
from meshkit.errors import (
    Code,
    MeshError,
    Overloaded,
    PayloadTooLarge,
    Unavailable,
    Unimplemented,
)
from meshkit.interceptors import Call, Handler
from meshkit.renderings import from_status, to_status

MAX_PAYLOAD_BYTES: Final = 256 * 1024
"""A larger payload is a call of its own: on the stream it would delay its neighbours."""
MAX_OUTSTANDING: Final = 1024
"""Most calls that a caller has in flight on one stream; it refuses further ones itself."""
LOT_BYTES: Final = 1024 * 1024
"""A message is closed once it holds this much."""
# What a message costs beside what it holds: ids, tags and lengths of as many as are outstanding.
_FRAME_BYTES: Final = 16 * 1024


def most_bytes(max_message_bytes: int) -> int:
    """What the calls or replies of one message may come to: gRPC ends the stream over a larger."""
    return channels.internal_message_bytes(max_message_bytes) - _FRAME_BYTES


# Reasons of calls that never began: they may go to another replica, whatever they do.
DRAINING: Final = "REPLICA_DRAINING"
NOT_SENT: Final = "NOT_SENT"
# The reason of calls that may have begun.
CONNECTION_LOST: Final = "CONNECTION_LOST"


def draining() -> Unavailable:
    """The refusal of a replica that is leaving; the call has not begun."""
    return Unavailable("the replica is shutting down; send the call again", reason=DRAINING)


class _Sized(Protocol):
    def ByteSize(self) -> int: ...  # noqa: N802  # protobuf's own name


T = TypeVar("T", bound=_Sized)


class _Outbox(Generic[T]):
    """What waits to be written, by id, handed out in lots of about one message.

    Args:
        most_bytes: no lot of several is larger.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._waiting: dict[int, T] = {}
        self._news = asyncio.Event()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, call_id: int, item: T) -> None:
        self._waiting[call_id] = item
        self._news.set()

    def discard(self, call_id: int) -> bool:
        """Takes an item back; False where it has been handed out."""
        return self._waiting.pop(call_id, None) is not None

    def nudge(self) -> None:
        """Wakes the reader although nothing was put in."""
        self._news.set()

    async def wait(self) -> None:
        """Returns once something was put in or `nudge` was called."""
        await self._news.wait()

    def take(self) -> list[T]:
        """The oldest items, up to one message's worth; at least one where any waits."""
        lot: list[T] = []
        size = 0
        while self._waiting and size < LOT_BYTES:
            oldest = next(iter(self._waiting))
            size += self._waiting[oldest].ByteSize()
            if lot and size > self._most_bytes:
                break
            lot.append(self._waiting.pop(oldest))
        if not self._waiting:
            self._news.clear()
        return lot


class Sessions:
    """The replica's end: answers the calls of every stream with the handlers of its methods.

    Args:
        handlers: by method, `package.Service/Method`.
        max_calls: most calls in flight over all streams; further ones are refused as overloaded.
        max_message_bytes: the mesh's limit for public messages.
    """

    def __init__(
        self, handlers: Mapping[str, Handler[bytes]], max_calls: int, max_message_bytes: int
    ) -> None:
        self._handlers = handlers
        self._max_calls = max_calls
        self._most_bytes = most_bytes(max_message_bytes)
        self._sessions: set[_Session] = set()
        self._draining = False

    async def serve(
        self,
        requests: AsyncIterable[dispatch_pb2.DispatchRequest],
        context: grpc.aio.ServicerContext[
            dispatch_pb2.DispatchRequest, dispatch_pb2.DispatchResponse
        ],
    ) -> None:
        """Serves one stream until its caller closes it or the replica drains.

        A caller that goes away cancels this coroutine, and with it the calls in flight.
        """
        session = _Session(self._handlers, context.write, self._check_load, self._most_bytes)
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


class _Session:
    """One stream at the replica."""

    def __init__(
        self,
        handlers: Mapping[str, Handler[bytes]],
        write: Callable[[dispatch_pb2.DispatchResponse], Awaitable[None]],
        check_load: Callable[[], None],
        most_bytes: int,
    ) -> None:
        self._handlers = handlers
        self._write = write
        self._check_load = check_load
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._most_bytes = most_bytes
        self._replies = _Outbox[dispatch_pb2.Reply](most_bytes)
        self._draining = False
        self._ended = asyncio.Event()
        self._answered = False

    @property
    def in_flight(self) -> int:
        """Calls that have begun and not ended."""
        return len(self._calls)

    async def run(self, requests: AsyncIterable[dispatch_pb2.DispatchRequest]) -> None:
        async with asyncio.TaskGroup() as group:
            reader = group.create_task(self._read(requests, group))
            writer = group.create_task(self._write_replies())
            await self._ended.wait()
            reader.cancel()
            await asyncio.gather(*self._calls.values(), return_exceptions=True)
            self._answered = True
            self._replies.nudge()
            await writer

    def drain(self) -> None:
        self._draining = True
        self._end_if_drained()

    def _end_if_drained(self) -> None:
        if self._draining and not self._calls:
            self._ended.set()

    async def _read(
        self, requests: AsyncIterable[dispatch_pb2.DispatchRequest], group: asyncio.TaskGroup
    ) -> None:
        async for request in requests:
            for call_id in request.cancels:
                if task := self._calls.get(call_id):
                    task.cancel()
            for call in request.calls:
                self._accept(call, group)
        self._ended.set()

    def _accept(self, call: dispatch_pb2.Call, group: asyncio.TaskGroup) -> None:
        try:
            handler = self._handlers.get(call.method.removeprefix("/"))
            if handler is None:
                raise Unimplemented(f"method {call.method!r} is not served here")
            if self._draining:
                raise draining()
            self._check_load()
        except MeshError as error:
            self._refuse(call, error)
            return
        task = group.create_task(self._answer(call, handler))
        self._calls[call.id] = task
        task.add_done_callback(lambda _: self._forget(call.id))

    def _forget(self, call_id: int) -> None:
        del self._calls[call_id]
        self._end_if_drained()

    async def _answer(self, call: dispatch_pb2.Call, handler: Handler[bytes]) -> None:
        incoming = Call(
            method=call.method.removeprefix("/"),
            metadata=dict(call.metadata),
            deadline=Deadline.after(call.timeout_us / 1e6),
        )
        try:
            payload = await handler(incoming, call.payload)
            if len(payload) > self._most_bytes:
                # gRPC would end the stream for it, and every other call on it.
                raise PayloadTooLarge(
                    f"the response has {len(payload)} bytes and a service may send "
                    f"{self._most_bytes} (MESH_MAX_MESSAGE_BYTES); ask for less at a time"
                )
        except MeshError as error:
            self._refuse(call, error)
        else:
            self._replies.put(call.id, dispatch_pb2.Reply(id=call.id, payload=payload))

    def _refuse(self, call: dispatch_pb2.Call, error: MeshError) -> None:
        reply = dispatch_pb2.Reply(
            id=call.id,
            code=int(error.code),
            message=error.message,
            status_details=to_status(error).SerializeToString(),
        )
        self._replies.put(call.id, reply)

    async def _write_replies(self) -> None:
        while self._replies or not self._answered:
            await self._replies.wait()
            if replies := self._replies.take():
                await self._write(dispatch_pb2.DispatchResponse(replies=replies))


class DispatchStream:
    """The caller's end: one stream to one replica, opened with a call where none is open.

    Args:
        channel: to the replica; stays the owner's.
        max_message_bytes: the mesh's limit for public messages.
    """

    def __init__(self, channel: grpc.aio.Channel, max_message_bytes: int) -> None:
        self._stub = dispatch_pb2_grpc.DispatchServiceStub(channel)
        self._ids = itertools.count(1)
        self._pending: dict[int, asyncio.Future[bytes]] = {}
        self._outbox = _Outbox[dispatch_pb2.Call](most_bytes(max_message_bytes))
        self._cancels: list[int] = []
        self._runner: asyncio.Task[None] | None = None

    async def call(
        self, method: str, payload: bytes, metadata: Mapping[str, str], deadline: Deadline
    ) -> bytes:
        """Makes one unary call; cancelling the coroutine cancels the call at the replica.

        Args:
            method: full name, `package.Service/Method`.
            payload: the serialised request; at most `MAX_PAYLOAD_BYTES` should come this way.
            metadata: as gRPC metadata, text only.
            deadline: when the replica may give up.

        Returns:
            The serialised response.

        Raises:
            MeshError: what the replica answered; `Unavailable` with the reason `NOT_SENT` or
                `REPLICA_DRAINING` where the call never began, or `CONNECTION_LOST` where it may
                have; `Overloaded` where too many calls are in flight.
        """
        if len(self._pending) >= MAX_OUTSTANDING:
            raise Overloaded(f"{MAX_OUTSTANDING} calls are in flight to the replica")
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        call_id = next(self._ids)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._pending[call_id] = answer
        self._outbox.put(
            call_id,
            dispatch_pb2.Call(
                id=call_id,
                method=method,
                timeout_us=max(0, int(deadline.remaining_s * 1e6)),
                metadata=metadata,
                payload=payload,
            ),
        )
        try:
            return await answer
        finally:
            del self._pending[call_id]
            if answer.cancelled() and not self._outbox.discard(call_id):
                self._cancels.append(call_id)
                self._outbox.nudge()

    async def close(self) -> None:
        """Ends the stream; calls in flight fail as unavailable."""
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)

    async def _run(self) -> None:
        written_by_hand: Any = None
        stream = self._stub.Dispatch(written_by_hand)
        reason, cause = CONNECTION_LOST, "the stream was closed"
        try:
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(self._write(stream))
                async for response in stream:
                    for reply in response.replies:
                        self._settle(reply)
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
            self._fail_all(reason, cause)

    async def _write(
        self,
        stream: grpc.aio.StreamStreamCall[
            dispatch_pb2.DispatchRequest, dispatch_pb2.DispatchResponse
        ],
    ) -> None:
        while True:
            await self._outbox.wait()
            cancels, self._cancels = self._cancels, []
            request = dispatch_pb2.DispatchRequest(calls=self._outbox.take(), cancels=cancels)
            await stream.write(request)

    def _settle(self, reply: dispatch_pb2.Reply) -> None:
        answer = self._pending.get(reply.id)
        if answer is None or answer.done():
            return
        if reply.code == Code.OK:
            answer.set_result(reply.payload)
        else:
            answer.set_exception(from_status(reply.code, reply.message, reply.status_details))

    def _fail_all(self, reason: str, cause: str) -> None:
        for call_id, answer in self._pending.items():
            unsent = self._outbox.discard(call_id)
            if not answer.done():
                answer.set_exception(
                    Unavailable(
                        f"the connection to the replica ended: {cause}",
                        reason=NOT_SENT if unsent else reason,
                    )
                )
        self._cancels.clear()


def _details(error: BaseException) -> str | None:
    return error.details() if isinstance(error, grpc.aio.AioRpcError) else str(error)
