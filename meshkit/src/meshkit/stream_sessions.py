"""The replica's end of the stream of streams (mesh.dispatch.v1): many answers on one gRPC stream.

A message costs as much as a call, so everything that waits while one is being written goes into the
next. Each call keeps a deadline, a cancellation, an order and a status of its own, and a window:
the replica sends no more than the caller has room for, so that who reads slowly holds back his own
answer and nobody else's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from mesh.dispatch.v1 import dispatch_pb2
from meshkit.deadline import Deadline
from meshkit.dispatch_ends import LOT_BYTES, Session, Sessions, Write
from meshkit.errors import MeshError
from meshkit.interceptors import Call, Handler
from meshkit.renderings import to_status

WINDOW_BYTES: Final = 32 * 1024
"""What a call may be ahead of its caller."""
PIECE_BYTES: Final = 32
"""What a message takes of the window beside its own size."""
# So many messages wait to be written that whoever makes more of them lets others go on first.
_CROWDED: Final = 64


class StreamSessions(Sessions[dispatch_pb2.StreamRequest, dispatch_pb2.StreamResponse, None]):
    """The replica's end."""

    def _session(self, write: Write[dispatch_pb2.StreamResponse]) -> _Session:
        return _Session(self._handlers, write, self._check_load, self._most_bytes)


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

    def __init__(
        self, call_id: int, pieces: _Pieces, check_size: Callable[[str, bytes], None]
    ) -> None:
        self._id = call_id
        self._pieces = pieces
        self._check_size = check_size
        self._room = WINDOW_BYTES
        self._more = asyncio.Event()

    def make_room(self, size: int) -> None:
        self._room += size
        self._more.set()

    async def write(self, message: bytes) -> None:
        """Sends a message as soon as there is room for it."""
        self._check_size("a message of the answer", message)
        while self._room <= 0:
            self._more.clear()
            await self._more.wait()
        self._room -= len(message) + PIECE_BYTES
        self._pieces.put(dispatch_pb2.Piece(id=self._id, payload=message))
        if len(self._pieces) > _CROWDED:
            await asyncio.sleep(0)


class _Session(Session[dispatch_pb2.StreamRequest, dispatch_pb2.StreamResponse, None]):
    """One stream at the replica."""

    def __init__(
        self,
        handlers: Mapping[str, Handler[None]],
        write: Write[dispatch_pb2.StreamResponse],
        check_load: Callable[[], None],
        most: int,
    ) -> None:
        super().__init__(handlers, write, check_load, most)
        self._answers: dict[int, _Answer] = {}
        self._pieces = _Pieces(most)

    def _note(self, request: dispatch_pb2.StreamRequest) -> None:
        for room in request.rooms:
            if answer := self._answers.get(room.id):
                answer.make_room(room.bytes)

    def _answer(self, call: dispatch_pb2.Call, handler: Handler[None]) -> Coroutine[Any, Any, None]:
        # At once, since its caller may make room before it is begun on.
        answer = self._answers[call.id] = _Answer(call.id, self._pieces, self._check_size)
        return self._run_one(call, handler, answer)

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
            self._refuse(call.id, error)
        else:
            self._pieces.put(dispatch_pb2.Piece(id=call.id))

    def _forget(self, call_id: int) -> None:
        del self._answers[call_id]
        super()._forget(call_id)

    def _refuse(self, call_id: int, error: MeshError) -> None:
        piece = dispatch_pb2.Piece(
            id=call_id,
            code=int(error.code),
            message=error.message,
            status_details=to_status(error).SerializeToString(),
        )
        self._pieces.put(piece)

    def _nudge(self) -> None:
        self._pieces.nudge()

    async def _write_answers(self) -> None:
        while self._pieces or not self._answered:
            if pieces := await self._pieces.take():
                await self._write(dispatch_pb2.StreamResponse(pieces=pieces))
