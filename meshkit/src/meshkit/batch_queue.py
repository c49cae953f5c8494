"""What waits in a micro-batcher: the calls, their rows, and the queue of rows with its bounds."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from meshkit import deadline
from meshkit.deadline import Deadline
from meshkit.errors import DeadlineExceeded, Internal, MeshError
from meshkit.names import RowOutcome

Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class QueueBounds:
    """How much may wait.

    Attributes:
        capacity: most rows.
        max_wait_ms: longest that a call is expected to wait for a worker; one that would wait
            longer is shed. A call is never refused for its own size.
        max_standing_wait_ms: the same, once no worker has been free for `batching.STANDING_S`. A
            burst is worth waiting for; a queue that stays makes all wait longer and answers none
            sooner (Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 10(5), 2012; Maurer,
            "Fail at Scale", ACM Queue 13(8), 2015). The workers' next batches may wait at any
            rate, so that slow runs stay wide.

    Raises:
        ValueError: one of them is below what makes sense.
    """

    capacity: int
    max_wait_ms: float = math.inf
    max_standing_wait_ms: float = math.inf

    def __post_init__(self) -> None:
        if self.capacity < 1 or min(self.max_wait_ms, self.max_standing_wait_ms) < 0:
            raise ValueError(
                "capacity must be at least 1, max_wait_ms and max_standing_wait_ms at least 0, not "
                f"{self.capacity}, {self.max_wait_ms} and {self.max_standing_wait_ms}"
            )


class Request(Generic[Result]):
    """The rows of one call and the future that its caller awaits."""

    def __init__(self, size: int, until: Deadline | None) -> None:
        self.outcomes: list[Result | Exception] = [Internal("the row never ran")] * size
        # Holds the error of the whole call, or None when every row has its outcome. A result and
        # not an exception, since a caller that has left would never retrieve that.
        self.settled: asyncio.Future[MeshError | None] = asyncio.get_running_loop().create_future()
        self._until = until
        self._missing = size

    def answer(self, index: int, outcome: Result | Exception) -> None:
        """Takes one row's outcome; the last one settles the call."""
        self.outcomes[index] = outcome
        self._missing -= 1
        if not self._missing:
            self.settle(None)

    def settle(self, error: MeshError | None) -> None:
        """Ends the wait of the caller, if it still waits."""
        if not self.settled.done():
            self.settled.set_result(error)

    def expire(self) -> None:
        """Ends the wait because the deadline has passed."""
        self.settle(deadline.passed())

    def is_awaited(self) -> bool:
        """Whether anybody still wants the answer; notices a deadline that has just passed."""
        if self._until is not None and self._until.expired:
            self.expire()
        return not self.settled.done()

    def why_left(self) -> RowOutcome:
        """What to call a row of this request that left the queue without a run."""
        if not self.settled.done() or self.settled.cancelled():
            return RowOutcome.LEFT
        expired = isinstance(self.settled.result(), DeadlineExceeded)
        return RowOutcome.EXPIRED if expired else RowOutcome.REFUSED


@dataclass(slots=True, eq=False)
class Row(Generic[Item, Key, Result]):
    """One item, in the queue or in a batch; equal only to itself."""

    item: Item
    key: Key
    request: Request[Result]
    index: int
    queued_at_s: float


class RowQueue(Generic[Item, Key, Result]):
    """Rows in the order of their arrival; adding, removing and finding take constant time."""

    def __init__(self) -> None:
        self._rows: OrderedDict[Row[Item, Key, Result], None] = OrderedDict()
        self._by_key: dict[Key, OrderedDict[Row[Item, Key, Result], None]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: Row[Item, Key, Result]) -> None:
        """Puts a row behind all others."""
        self._rows[row] = None
        self._by_key.setdefault(row.key, OrderedDict())[row] = None

    def discard(self, row: Row[Item, Key, Result]) -> bool:
        """Takes a row out, and says whether it was in."""
        if row not in self._rows:
            return False
        del self._rows[row]
        same_key = self._by_key[row.key]
        del same_key[row]
        if not same_key:
            del self._by_key[row.key]
        return True

    def oldest(self) -> Row[Item, Key, Result] | None:
        """The row that has waited longest."""
        return next(iter(self._rows), None)

    def oldest_of(self, key: Key) -> Row[Item, Key, Result] | None:
        """The row with `key` that has waited longest."""
        return next(iter(self._by_key.get(key, ())), None)

    def oldest_of_full(self, size: int) -> Row[Item, Key, Result] | None:
        """The row that has waited longest among those whose key has `size` rows at least."""
        heads = (next(iter(rows)) for rows in self._by_key.values() if len(rows) >= size)
        return min(heads, key=lambda row: row.queued_at_s, default=None)
