"""Micro-batching: items of many callers share one run of a model, and no caller can harm another.

`max_batch_size` rows run together at most, and workers share what waits; with a free worker a
row waits `max_queue_delay_ms` at most for company. Only so many rows wait, and no call is let in
behind rows that the workers need too long for, so that what is let in is answered soon, however
much is asked (`QueueBounds`); none of this ends a wait that has begun, which is the caller's own
deadline's business.
"""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final, Generic, Self
from weakref import WeakSet

from meshkit import deadline, names, telemetry
from meshkit.batch_queue import Item, Key, QueueBounds, Request, Result, Row, RowQueue
from meshkit.deadline import Deadline
from meshkit.durations import Durations
from meshkit.errors import Internal, Overloaded, Unavailable
from meshkit.names import RowOutcome

STANDING_S: Final = 0.1
"""What waits while no worker has been free for so long is no burst."""
_log = logging.getLogger(__name__)

_batchers: "WeakSet[MicroBatcher[Any, Any, Any]]" = WeakSet()
_queue_depth = telemetry.observed(
    names.BATCH_QUEUE_DEPTH,
    "{row}",
    "Rows that wait for a worker.",
    lambda: [(batcher.queued, batcher.attributes) for batcher in _batchers],
)
_queue_time = Durations(
    names.BATCH_QUEUE_DURATION, "How long a row waited before it ran.", [names.BATCHER]
)
_run_time = Durations(names.BATCH_RUN_DURATION, "How long a batch ran.", [names.BATCHER])
_batch_size = telemetry.histogram(
    names.BATCH_SIZE, "{row}", "Rows in a batch.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)
_rows = telemetry.counter(names.BATCH_ROWS, "{row}", "Rows by what became of them.")

# The newest batch's share in the running mean of a row's service time: some ten batches are
# remembered.
_NEWEST_SHARE = 0.2
# A refused caller stays away at least this long, also while nothing has been measured.
_MIN_RETRY_DELAY_S = 0.01


class MicroBatcher(Generic[Item, Key, Result]):
    """Runs the items of many callers in batches, on `workers` threads.

    What holds, whatever callers do:

    - A batch has at most `max_batch_size` rows, all with an equal key. Within a key rows run in the
      order of their arrival; among keys the one with the oldest row goes first.
    - A caller that leaves, or whose deadline passes, takes its waiting rows out of the queue at
      once: they cost no run. Its rows that already run finish with their batch and are dropped.
    - The items of a call are admitted together or not at all.
    - A batch that fails is run again row by row, so that only the item at fault has the error.

    Use it as an async context manager; leaving it refuses new work and finishes the rest.

    Args:
        run: computes the results of a batch, one for each item and in their order. It blocks, is
            called from `workers` threads at once, and may be called twice for an item.
        key: what must be equal for two items to share a batch, such as parameters and length
            bucket.
        name: stands in metrics and messages; from a closed set.
        max_batch_size: most rows in one run.
        max_queue_delay_ms: longest that a row waits for company while a worker is free. With 0
            there is no timer: a free worker takes whatever waits, and company gathers while all
            are busy.
        queue: how much may wait; what comes on top is shed.
        workers: most batches that run at once.
        least_share: rows that are not worth being shared among workers.
    """

    def __init__(
        self,
        run: Callable[[Key, Sequence[Item]], Sequence[Result]],
        *,
        key: Callable[[Item], Key],
        name: str,
        max_batch_size: int,
        max_queue_delay_ms: float,
        queue: QueueBounds,
        workers: int = 1,
        least_share: int = 1,
    ) -> None:
        if min(max_batch_size, workers, least_share) < 1 or max_queue_delay_ms < 0:
            raise ValueError(
                "max_batch_size, workers and least_share must be at least 1, max_queue_delay_ms at "
                f"least 0, not {max_batch_size}, {workers}, {least_share} and {max_queue_delay_ms}"
            )
        self._run = run
        self._key = key
        self._name = name
        self._max_batch_size = max_batch_size
        self._max_queue_delay_s = max_queue_delay_ms / 1000
        self._bounds = queue
        self._all_busy_since_s = math.inf
        self._workers = workers
        self._least_share = least_share
        self.attributes: Mapping[str, str] = {names.BATCHER: name}
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix=f"batch-{name}")
        # What waits and what runs are in these two and counted nowhere else, so no count can drift.
        self._queue: RowQueue[Item, Key, Result] = RowQueue()
        self._running: set[asyncio.Future[tuple[list[Result | Exception], float]]] = set()
        self._row_time_s = 0.0
        self._pump_is_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False
        self._at_rest = asyncio.Event()
        self._at_rest.set()
        _batchers.add(self)

    @property
    def queued(self) -> int:
        """Rows that wait for a worker."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """Batches that run."""
        return len(self._running)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Refuses new work, finishes what waits and runs, and ends the threads.

        Where it is cancelled before that, what still waits fails with Unavailable.
        """
        self._closing = True
        self._pump()  # no row waits for company any more
        try:
            await self._at_rest.wait()
        finally:
            while (row := self._queue.oldest()) is not None:
                row.request.settle(self._closed())
                self._discard(row)
            self._executor.shutdown(wait=False)

    async def submit(self, item: Item) -> Result:
        """Runs one item and returns its result.

        Raises:
            Exception: what `run` raised for this item; else as `submit_many`.
        """
        (outcome,) = await self.submit_many([item])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def submit_many(self, items: Sequence[Item]) -> list[Result | Exception]:
        """Runs the items of one call.

        Returns:
            For each item, in their order, its result or what `run` raised for it.

        Raises:
            Overloaded: the queue has no place for all of them, or they would wait longer than its
                bounds allow, or past the current deadline.
            DeadlineExceeded: the current deadline passed first.
            Unavailable: the batcher is closing.
            ValueError: there are more items than the queue has places, so that no wait would help.
        """
        if not items:
            return []
        until = deadline.current()
        # The keys come first: where one can't be had, nothing has been queued.
        keys = [self._key(item) for item in items]
        self._admit(len(items), until)
        loop = asyncio.get_running_loop()
        request: Request[Result] = Request(len(items), until)
        rows = [
            Row(item, key, request, index, loop.time())
            for index, (item, key) in enumerate(zip(items, keys, strict=True))
        ]
        timer = None if until is None else loop.call_later(until.remaining_s, request.expire)
        try:
            self._enqueue(rows)
            error = await request.settled
        finally:
            if timer is not None:
                timer.cancel()
            for row in rows:
                self._discard(row)
        if error is not None:
            raise error
        return request.outcomes

    def _admit(self, size: int, until: Deadline | None) -> None:
        """Refuses a call whose rows can't all wait, or would wait in vain."""
        if size > self._bounds.capacity:
            raise ValueError(
                f"a call of {size} items never fits the {self._name} queue, which holds "
                f"{self._bounds.capacity}; raise queue_capacity or lower the most items of a call"
            )
        if self._closing:
            self._count(RowOutcome.REFUSED, size)
            raise self._closed()
        if until is not None and until.expired:
            self._count(RowOutcome.EXPIRED, size)
            raise deadline.passed()
        wait_s, most_s = self._expected_wait_s(), self._most_wait_s()
        if len(self._queue) + size > self._bounds.capacity:
            taken = f"{len(self._queue)} of {self._bounds.capacity} places taken"
            self._shed(size, f"is full ({taken}, {size} wanted)", wait_s)
        if wait_s > most_s:
            fact = f"is {wait_s:.3f} s long ({most_s:.3f} s are the most)"
            self._shed(size, fact, wait_s - most_s)
        if until is not None and wait_s > until.remaining_s:
            self._shed(size, f"is {wait_s:.3f} s long, which the deadline does not allow", wait_s)

    def _shed(self, size: int, fact: str, wait_s: float) -> None:
        self._count(RowOutcome.SHED, size)
        delay_s = max(wait_s, _MIN_RETRY_DELAY_S)
        raise Overloaded(
            f"the {self._name} queue {fact}; try again in {delay_s:.3f} s", retry_delay_s=delay_s
        )

    def _closed(self) -> Unavailable:
        return Unavailable(f"{self._name} is shutting down; send the request to another replica")

    def _expected_wait_s(self) -> float:
        """How long the workers need for what waits; what runs is partly done and left out."""
        return len(self._queue) * self._row_time_s / self._workers

    def _most_wait_s(self) -> float:
        """How long one may be expected to wait, for who would come now."""
        if asyncio.get_running_loop().time() - self._all_busy_since_s < STANDING_S:
            return self._bounds.max_wait_ms / 1000
        next_batches_ms = self._max_batch_size * self._row_time_s * 1000
        standing_ms = max(self._bounds.max_standing_wait_ms, next_batches_ms)
        return min(self._bounds.max_wait_ms, standing_ms) / 1000

    def _enqueue(self, rows: list[Row[Item, Key, Result]]) -> None:
        for row in rows:
            self._queue.add(row)
        self._at_rest.clear()
        if not self._pump_is_due:
            # In a moment and not now: calls that arrive in one turn of the loop share a batch.
            self._pump_is_due = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _discard(self, row: Row[Item, Key, Result]) -> None:
        """Takes a row that nobody waits for out of the queue, if it is still there."""
        if self._queue.discard(row):
            self._count(row.request.why_left())
            self._note_rest()

    def _pump(self) -> None:
        """Starts every batch that is due while a worker is free; sets the timer for the next."""
        self._pump_is_due = False
        most = self._share()
        while len(self._running) < self._workers and (head := self._due()) is not None:
            if batch := self._take(head.key, most):
                self._start(batch)
        if len(self._running) < self._workers:
            self._all_busy_since_s = math.inf
        elif self._all_busy_since_s == math.inf:
            self._all_busy_since_s = asyncio.get_running_loop().time()
        self._set_timer()
        self._note_rest()

    def _note_rest(self) -> None:
        if not self._queue and not self._running:
            self._at_rest.set()

    def _due(self) -> Row[Item, Key, Result] | None:
        """The first row of the batch whose turn it is; None while all may wait for company."""
        oldest = self._queue.oldest()
        if oldest is None or self._closing:
            return oldest
        # No row is due before the oldest: all wait equally long.
        if oldest.queued_at_s + self._max_queue_delay_s <= asyncio.get_running_loop().time():
            return oldest
        return self._queue.oldest_of_full(self._max_batch_size)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        oldest = self._queue.oldest()
        if oldest is not None and len(self._running) < self._workers:
            due_at_s = oldest.queued_at_s + self._max_queue_delay_s
            self._timer = asyncio.get_running_loop().call_at(due_at_s, self._pump)

    def _take(self, key: Key, most: int) -> list[Row[Item, Key, Result]]:
        """Takes a batch out of the queue, passing over rows whose caller has just left."""
        batch: list[Row[Item, Key, Result]] = []
        while len(batch) < most and (row := self._queue.oldest_of(key)) is not None:
            if row.request.is_awaited():
                self._queue.discard(row)
                batch.append(row)
            else:
                self._discard(row)
        return batch

    def _share(self) -> int:
        """Most rows for a worker that is free now; the others have theirs when they are free."""
        even = math.ceil(len(self._queue) / self._workers)
        return min(self._max_batch_size, max(even, self._least_share))

    def _start(self, batch: list[Row[Item, Key, Result]]) -> None:
        loop = asyncio.get_running_loop()
        for row in batch:
            _queue_time.record(loop.time() - row.queued_at_s, (self._name,))
        _batch_size.record(len(batch), self.attributes)
        items = [row.item for row in batch]
        running = loop.run_in_executor(self._executor, self._run_timed, batch[0].key, items)
        self._running.add(running)
        running.add_done_callback(lambda ran: self._finish(batch, ran))

    def _finish(
        self,
        batch: list[Row[Item, Key, Result]],
        ran: asyncio.Future[tuple[list[Result | Exception], float]],
    ) -> None:
        """Lets the next batch start, and hands the outcomes to those who still wait."""
        self._running.discard(ran)
        outcomes, run_s = ran.result()
        _run_time.record(run_s, (self._name,))
        row_time_s = run_s / len(batch)
        share = _NEWEST_SHARE if self._row_time_s else 1.0
        self._row_time_s += share * (row_time_s - self._row_time_s)
        # First of all, so that the worker runs while this hands out.
        self._pump()
        fates: Counter[RowOutcome] = Counter()
        for row, outcome in zip(batch, outcomes, strict=True):
            if not row.request.is_awaited():
                fates[RowOutcome.DROPPED] += 1
                continue
            failed = isinstance(outcome, Exception)
            fates[RowOutcome.FAILED if failed else RowOutcome.ANSWERED] += 1
            row.request.answer(row.index, outcome)
        for fate, size in fates.items():
            self._count(fate, size)

    def _run_timed(self, key: Key, items: list[Item]) -> tuple[list[Result | Exception], float]:
        """Runs in a worker's thread. Returns the outcomes and the seconds they took."""
        started_s = time.perf_counter()
        outcomes = self._attempt(key, items)
        return outcomes, time.perf_counter() - started_s

    def _attempt(self, key: Key, items: list[Item]) -> list[Result | Exception]:
        try:
            results = self._run(key, items)
            if len(results) != len(items):
                raise Internal(f"{self._name} gave {len(results)} results for {len(items)} items")
            return [*results]
        except BaseException as error:  # noqa: BLE001  # a panic of a Rust library is no Exception
            if len(items) == 1:
                return [error if isinstance(error, Exception) else self._panic(error)]
            _log.warning("a batch of %d failed; each row is tried alone", len(items), exc_info=True)
            # One bad item must not fail its neighbours. Not for a `run` with effects outside
            # itself, whose neighbours would have theirs twice.
            return [outcome for item in items for outcome in self._attempt(key, [item])]

    def _panic(self, error: BaseException) -> Internal:
        internal = Internal(f"{self._name} failed with {type(error).__name__}")
        internal.__cause__ = error
        return internal

    def _count(self, outcome: RowOutcome, size: int = 1) -> None:
        _rows.add(size, {names.BATCHER: self._name, names.ROW_OUTCOME: outcome})
