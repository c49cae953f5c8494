"""The caller's end of the stream of streams (mesh.dispatch.v1); `stream_sessions` has the other."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final

import grpc

from mesh.dispatch.v1 import dispatch_pb2, dispatch_pb2_grpc
from meshkit import deadline as deadlines
from meshkit.deadline import Deadline
from meshkit.dispatch_ends import LOT_BYTES, MAX_OUTSTANDING, CallerEnd
from meshkit.errors import Code, MeshError, Overloaded, Unavailable
from meshkit.renderings import from_status
from meshkit.stream_sessions import PIECE_BYTES, WINDOW_BYTES

# What is handed over together may grow on its way to the caller, and he may read slowly.
_MOST_AT_ONCE: Final = 64


class _Reading:
    """One answer at the caller: what has come and was not taken yet, and how it ended.

    Attributes:
        messages: that wait to be taken.
        ended: whether no more will come.
        replied: whether the replica has ended it, so that it need not be told to.
        errors: the one that it ended with, if any. To be raised it is taken out: what is raised
            refers to where it was raised, and what is there to this.
    """

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.ended = False
        self.replied = False
        self.errors: list[MeshError] = []
        self._waiter: asyncio.Future[None] | None = None

    def add(self, message: bytes) -> None:
        self.messages.append(message)
        self._wake()

    def take(self) -> list[bytes]:
        """Takes the oldest messages that have come; none where none has."""
        taken, self.messages = self.messages[:_MOST_AT_ONCE], self.messages[_MOST_AT_ONCE:]
        return taken

    def end(self, error: MeshError | None) -> None:
        """Ends it; only the first time counts."""
        if not self.ended:
            self.ended = True
            self.errors = [error] if error else []
            self._wake()

    async def news(self) -> None:
        """Returns once there is something that there was not."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class DispatchStreams(CallerEnd[dispatch_pb2.StreamRequest, dispatch_pb2.StreamResponse]):
    """The caller's end: one stream to one replica, opened with a call where none is open.

    Args:
        channel: to the replica; stays the owner's.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__()
        self._stub = dispatch_pb2_grpc.DispatchServiceStub(channel)
        self._ids = itertools.count(1)
        self._readings: dict[int, _Reading] = {}
        self._calls: dict[int, dispatch_pb2.Call] = {}
        self._cancels: list[int] = []
        self._rooms: dict[int, int] = {}
        self._news = asyncio.Event()

    async def batches(
        self, method: str, payload: bytes, metadata: Mapping[str, str], deadline: Deadline
    ) -> AsyncGenerator[list[bytes], None]:
        """Makes one call; closing the generator cancels it at the replica.

        Args:
            method: full name, `package.Service/Method`.
            payload: the serialised request; at most `MAX_PAYLOAD_BYTES` should come this way.
            metadata: as gRPC metadata, text only.
            deadline: when both ends give up.

        Yields:
            The serialised messages that have come since the last time, one at least. The replica
            goes on when they are taken, which asking for the next ones says.

        Raises:
            MeshError: as `DispatchStream.call`.
        """
        if len(self._readings) >= MAX_OUTSTANDING:
            raise Overloaded(f"{MAX_OUTSTANDING} streams are open to the replica")
        self._begin()
        call_id, reading = next(self._ids), _Reading()
        left_s = max(0.0, deadline.remaining_s)
        self._readings[call_id] = reading
        self._calls[call_id] = dispatch_pb2.Call(
            id=call_id,
            method=method,
            timeout_us=int(left_s * 1e6),
            metadata=metadata,
            payload=payload,
        )
        self._news.set()
        timer = asyncio.get_running_loop().call_later(left_s, _pass, reading)
        try:
            while True:
                if messages := reading.take():
                    yield messages
                    self._make_room(call_id, messages)
                elif not reading.ended:
                    await reading.news()
                elif reading.errors:
                    raise reading.errors.pop()
                else:
                    return
        finally:
            timer.cancel()
            del self._readings[call_id]
            self._rooms.pop(call_id, None)
            if self._calls.pop(call_id, None) is None and not reading.replied:
                self._cancels.append(call_id)
                self._news.set()

    def _make_room(self, call_id: int, messages: list[bytes]) -> None:
        taken = sum(map(len, messages)) + PIECE_BYTES * len(messages)
        room = self._rooms[call_id] = self._rooms.get(call_id, 0) + taken
        if room >= WINDOW_BYTES // 2:
            self._news.set()

    def _opened(
        self,
    ) -> grpc.aio.StreamStreamCall[dispatch_pb2.StreamRequest, dispatch_pb2.StreamResponse]:
        written_by_hand: Any = None
        return self._stub.Stream(written_by_hand)

    def _take(self, response: dispatch_pb2.StreamResponse) -> None:
        for piece in response.pieces:
            self._settle(piece)

    async def _write(
        self,
        stream: grpc.aio.StreamStreamCall[dispatch_pb2.StreamRequest, dispatch_pb2.StreamResponse],
    ) -> None:
        while True:
            await self._news.wait()
            await stream.write(self._request())

    def _request(self) -> dispatch_pb2.StreamRequest:
        """What waits to be written, up to one message's worth of calls."""
        request = dispatch_pb2.StreamRequest()
        size = 0
        while self._calls and size < LOT_BYTES:
            call = self._calls.pop(next(iter(self._calls)))
            size += call.ByteSize()
            request.calls.append(call)
        request.cancels.extend(self._cancels)
        self._cancels.clear()
        for call_id, room in list(self._rooms.items()):
            if room >= WINDOW_BYTES // 2:
                del self._rooms[call_id]
                request.rooms.add(id=call_id, bytes=room)
        if not self._calls:
            self._news.clear()
        return request

    def _settle(self, piece: dispatch_pb2.Piece) -> None:
        reading = self._readings.get(piece.id)
        if reading is None:
            return
        if piece.HasField("payload"):
            reading.add(piece.payload)
            return
        reading.replied = True
        if piece.code == Code.OK:
            reading.end(None)
        else:
            reading.end(from_status(piece.code, piece.message, piece.status_details))

    def _fail_all(self, error: Callable[[bool], Unavailable]) -> None:
        for call_id, reading in self._readings.items():
            unsent = self._calls.pop(call_id, None) is not None
            reading.replied = True  # nobody is there to be told
            reading.end(error(unsent))
        self._calls.clear()
        self._cancels.clear()
        self._rooms.clear()


def _pass(reading: _Reading) -> None:
    reading.end(deadlines.passed())
