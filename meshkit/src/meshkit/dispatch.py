"""Both ends of the dispatch stream (mesh.dispatch.v1): many unary calls on one gRPC stream.

A message costs as much as a call, so everything that waits while a message is being written goes
into the next one. Each call keeps a deadline, a cancellation, metadata and a status of its own.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

import grpc

from mesh.dispatch.v1 import dispatch_pb2, dispatch_pb2_grpc
from meshkit.deadline import Deadline
from meshkit.dispatch_ends import (
    LOT_BYTES,
    MAX_OUTSTANDING,
    CallerEnd,
    Session,
    Sessions,
    Write,
    most_bytes,
)
from meshkit.errors import Code, MeshError, Overloaded, Unavailable
from meshkit.interceptors import Call, Handler
from meshkit.renderings import from_status, to_status


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


class UnarySessions(Sessions[dispatch_pb2.DispatchRequest, dispatch_pb2.DispatchResponse, bytes]):
    """The replica's end."""

    def _session(self, write: Write[dispatch_pb2.DispatchResponse]) -> _Session:
        return _Session(self._handlers, write, self._check_load, self._most_bytes)


class _Session(Session[dispatch_pb2.DispatchRequest, dispatch_pb2.DispatchResponse, bytes]):
    """One stream at the replica."""

    def __init__(
        self,
        handlers: Mapping[str, Handler[bytes]],
        write: Write[dispatch_pb2.DispatchResponse],
        check_load: Callable[[], None],
        most: int,
    ) -> None:
        super().__init__(handlers, write, check_load, most)
        self._replies = _Outbox[dispatch_pb2.Reply](most)

    async def _answer(self, call: dispatch_pb2.Call, handler: Handler[bytes]) -> None:
        incoming = Call(
            method=call.method.removeprefix("/"),
            metadata=dict(call.metadata),
            deadline=Deadline.after(call.timeout_us / 1e6),
        )
        try:
            payload = await handler(incoming, call.payload)
            self._check_size("the response", payload)
        except MeshError as error:
            self._refuse(call.id, error)
        else:
            self._replies.put(call.id, dispatch_pb2.Reply(id=call.id, payload=payload))

    def _refuse(self, call_id: int, error: MeshError) -> None:
        reply = dispatch_pb2.Reply(
            id=call_id,
            code=int(error.code),
            message=error.message,
            status_details=to_status(error).SerializeToString(),
        )
        self._replies.put(call_id, reply)

    def _nudge(self) -> None:
        self._replies.nudge()

    async def _write_answers(self) -> None:
        while self._replies or not self._answered:
            await self._replies.wait()
            if replies := self._replies.take():
                await self._write(dispatch_pb2.DispatchResponse(replies=replies))


class DispatchStream(CallerEnd[dispatch_pb2.DispatchRequest, dispatch_pb2.DispatchResponse]):
    """The caller's end: one stream to one replica, opened with a call where none is open.

    Args:
        channel: to the replica; stays the owner's.
        max_message_bytes: the mesh's limit for public messages.
    """

    def __init__(self, channel: grpc.aio.Channel, max_message_bytes: int) -> None:
        super().__init__()
        self._stub = dispatch_pb2_grpc.DispatchServiceStub(channel)
        self._ids = itertools.count(1)
        self._pending: dict[int, asyncio.Future[bytes]] = {}
        self._outbox = _Outbox[dispatch_pb2.Call](most_bytes(max_message_bytes))
        self._cancels: list[int] = []

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
        self._begin()
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

    def _opened(
        self,
    ) -> grpc.aio.StreamStreamCall[dispatch_pb2.DispatchRequest, dispatch_pb2.DispatchResponse]:
        written_by_hand: Any = None
        return self._stub.Dispatch(written_by_hand)

    def _take(self, response: dispatch_pb2.DispatchResponse) -> None:
        for reply in response.replies:
            self._settle(reply)

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

    def _fail_all(self, error: Callable[[bool], Unavailable]) -> None:
        for call_id, answer in self._pending.items():
            unsent = self._outbox.discard(call_id)
            if not answer.done():
                answer.set_exception(error(unsent))
        self._cancels.clear()
