"""The replica's end of the stream of streams (mesh.dispatch.v1): many answers on one gRPC stream.

A message costs as much as a call, so everything that waits while one is being written goes into the
next. Each call keeps a deadline, a cancellation, an order and a status of its own, and a window:
the replica sends no more than the caller has room for, so that who reads slowly holds back his own
answer and nobody else's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from typing import Final

import grpc

from mesh.dispatch.v1 import dispatch_pb2
from meshkit.deadline import Deadline
from meshkit.dispatch import LOT_BYTES, draining, most_bytes
from meshkit.errors import MeshError, Overloaded, PayloadTooLarge, Unimplemented
from meshkit.interceptors import Call, Handler
from meshkit.renderings import to_status

WINDOW_BYTES: Final = 32 * 1024
"""What a call may be ahead of its caller."""
PIECE_BYTES: Final = 32
"""What a message takes of the window beside its own size."""
# So many messages wait to be written that whoever makes more of them lets others go on first.
_CROWDED: Final = 64


class StreamSessions:
    """The replica's end: answers the calls of every stream with the handlers of its methods.

    Args:
        handlers: by method, `package.Service/Method`.
        max_calls: most calls in flight over all streams; further ones are refused as overloaded.
        max_message_bytes: the mesh's limit for public messages.
    """

    def __init__(
        self, handlers: Mapping[str, Handler[None]], max_calls: int, max_message_bytes: int
    ) -> None:
        self._handlers = handlers
        self._max_calls = max_calls
        self._most_bytes = most_bytes(max_message_bytes)
        self._sessions: set[_Session] = set()
        self._draining = False

    async def serve(
        self,
        requests: AsyncIterable[dispatch_pb2.StreamRequest],
        context: grpc.aio.ServicerContext[dispatch_pb2.StreamRequest, dispatch_pb2.StreamResponse],
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


class _Pieces:
    """What waits to be written, in its order."""

    def __init__(self, most: int) -> None:
        self._most_bytes = most
        self._waiting: deque[dispatch_pb2.Piece] = deque()
        self._news = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, piece: dispatch_pb2.Piece) -> None:
        self._waiting.append(piece)
        self._news.set()

    def nudge(self) -> None:
        """Wakes the writer although nothing was put in."""
        self._news.set()

    async def take(self) -> list[dispatch_pb2.Piece]:
        """Waits for pieces, and returns up to one message's worth; none where it was nudged."""
        await self._news.wait()
        lot: list[dispatch_pb2.Piece] = []
        size = 0
        while self._waiting and size < LOT_BYTES:
            size += len(self._waiting[0].payload) + PIECE_BYTES
            if lot and size > self._most_bytes:
                break
            lot.append(self._waiting.popleft())
        if not self._waiting:
            self._news.clear()
        return lot


class _Answer:
    """One answer at the replica, and how much room its caller has for it."""

    def __init__(self, call_id: int, pieces: _Pieces, most: int) -> None:
        self.task: asyncio.Task[None]
        self._id = call_id
        self._pieces = pieces
        self._most_bytes = most
        self._room = WINDOW_BYTES
        self._more = asyncio.Event()

    def make_room(self, size: int) -> None:
        self._room += size
        self._more.set()

    async def write(self, message: bytes) -> None:
        """Sends a message as soon as there is room for it."""
        if len(message) > self._most_bytes:
            # gRPC would end the stream for it, and every other call on it.
            raise PayloadTooLarge(
                f"a message of the answer has {len(message)} bytes and a service may send "
                f"{self._most_bytes} (MESH_MAX_MESSAGE_BYTES); ask for less at a time"
            )
        while self._room <= 0:
            self._more.clear()
            await self._more.wait()
        self._room -= len(message) + PIECE_BYTES
        self._pieces.put(dispatch_pb2.Piece(id=self._id, payload=message))
        if len(self._pieces) > _CROWDED:
            await asyncio.sleep(0)


class _Session:
    """One stream at the replica."""

    def __init__(
        self,
        handlers: Mapping[str, Handler[None]],
        write: Callable[[dispatch_pb2.StreamResponse], Awaitable[None]],
        check_load: Callable[[], None],
        most: int,
    ) -> None:
        self._handlers = handlers
        self._write = write
        self._check_load = check_load
        self._most_bytes = most
        self._answers: dict[int, _Answer] = {}
        self._pieces = _Pieces(most)
        self._draining = False
        self._ended = asyncio.Event()
        self._answered = False

    @property
    def in_flight(self) -> int:
        """Calls that have begun and not ended."""
        return len(self._answers)

    async def run(self, requests: AsyncIterable[dispatch_pb2.StreamRequest]) -> None:
        async with asyncio.TaskGroup() as group:
            reader = group.create_task(self._read(requests, group))
            writer = group.create_task(self._write_pieces())
            await self._ended.wait()
            reader.cancel()
            tasks = [each.task for each in self._answers.values()]
            await asyncio.gather(*tasks, return_exceptions=True)
            self._answered = True
            self._pieces.nudge()
            await writer

    def drain(self) -> None:
        self._draining = True
        self._end_if_drained()

    def _end_if_drained(self) -> None:
        if self._draining and not self._answers:
            self._ended.set()

    async def _read(
        self, requests: AsyncIterable[dispatch_pb2.StreamRequest], group: asyncio.TaskGroup
    ) -> None:
        async for request in requests:
            for call_id in request.cancels:
                if answer := self._answers.get(call_id):
                    answer.task.cancel()
            for room in request.rooms:
                if answer := self._answers.get(room.id):
                    answer.make_room(room.bytes)
            for call in request.calls:
                self._accept(call, group)
        self._ended.set()

    def _accept(self, call: dispatch_pb2.Call, group: asyncio.TaskGroup) -> None:
        try:
            handler = self._handlers.get(call.method.removeprefix("/"))
            if handler is None:
                raise Unimplemented(f"method {call.method!r} is not served here as a stream")
            if self._draining:
                raise draining()
            self._check_load()
        except MeshError as error:
            self._end(call.id, error)
            return
        answer = self._answers[call.id] = _Answer(call.id, self._pieces, self._most_bytes)
        answer.task = group.create_task(self._run_one(call, handler, answer))
        answer.task.add_done_callback(lambda _: self._forget(call.id))

    def _forget(self, call_id: int) -> None:
        del self._answers[call_id]
        self._end_if_drained()

    async def _run_one(
        self, call: dispatch_pb2.Call, handler: Handler[None], answer: _Answer
    ) -> None:
        incoming = Call(
            method=call.method.removeprefix("/"),
            metadata=dict(call.metadata),
            deadline=Deadline.after(call.timeout_us / 1e6),
            write=answer.write,
        )
        try:
            await handler(incoming, call.payload)
        except MeshError as error:
            self._end(call.id, error)
        else:
            self._pieces.put(dispatch_pb2.Piece(id=call.id))

    def _end(self, call_id: int, error: MeshError) -> None:
        piece = dispatch_pb2.Piece(
            id=call_id,
            code=int(error.code),
            message=error.message,
            status_details=to_status(error).SerializeToString(),
        )
        self._pieces.put(piece)

    async def _write_pieces(self) -> None:
        while self._pieces or not self._answered:
            if pieces := await self._pieces.take():
                await self._write(dispatch_pb2.StreamResponse(pieces=pieces))
