"""The micro-batcher on real threads and a real loop; what runs, and when, is up to each test."""

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from meshkit import batching, deadline
from meshkit.batch_queue import QueueBounds, Request, Row, RowQueue
from meshkit.batching import MicroBatcher
from meshkit.deadline import Deadline
from meshkit.errors import DeadlineExceeded, Internal, Overloaded, Unavailable
from meshkit.names import RowOutcome

PATIENCE_S = 30.0


class PoisonedError(Exception):
    """What the model raises for a batch that holds a poisoned item."""


class PanicError(BaseException):
    """As a Rust library raises it: no Exception."""


@dataclass(frozen=True)
class Thing:
    """An item: `number` is its place in the order of arrival, `kind` how the model takes it."""

    number: int
    key: str = "a"
    kind: str = "good"


@dataclass
class Batch:
    """A batch that has reached the model and stays there until it may go on."""

    items: list[Thing]
    go_on: threading.Event = field(default_factory=threading.Event)


class HeldModel:
    """A model whose every batch waits for the test; a row tried alone goes straight through."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.tried_alone: list[Thing] = []
        self._loop = asyncio.get_running_loop()
        self._seen: set[Thing] = set()

    def __call__(self, key: str, items: Sequence[Thing]) -> list[str]:
        assert {item.key for item in items} == {key}
        if items[0] in self._seen:
            self.tried_alone.extend(items)
        else:
            self._seen.update(items)
            batch = Batch(list(items))
            self._loop.call_soon_threadsafe(self.batches.append, batch)
            assert batch.go_on.wait(PATIENCE_S), "the test forgot a batch"
        return answers(items)

    def release(self) -> None:
        """Lets every batch go on that has begun."""
        for batch in self.batches:
            batch.go_on.set()


def answers(items: Sequence[Thing]) -> list[str]:
    """What the model says to a batch, by the kinds of its items."""
    kinds = {item.kind for item in items}
    if "poison" in kinds:
        raise PoisonedError([item.number for item in items])
    if "panic" in kinds:
        raise PanicError
    return [f"answer {item.number}" for item in items if item.kind != "lost"]


def batcher_of(
    run: Callable[[str, Sequence[Thing]], Sequence[str]],
    *,
    max_batch_size: int = 4,
    max_queue_delay_ms: float = 0,
    queue_capacity: int = 16,
    max_queue_wait_ms: float = math.inf,
    max_standing_wait_ms: float = math.inf,
    workers: int = 1,
    least_share: int = 1,
) -> MicroBatcher[Thing, str, str]:
    return MicroBatcher(
        run,
        key=lambda item: item.key,
        name="test",
        max_batch_size=max_batch_size,
        max_queue_delay_ms=max_queue_delay_ms,
        queue=QueueBounds(queue_capacity, max_queue_wait_ms, max_standing_wait_ms),
        workers=workers,
        least_share=least_share,
    )


async def turns(count: int = 4) -> None:
    """Lets the loop turn: a call is admitted in the first, its batch starts in the second."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that a thread brings about."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # a thread brings it about, and sets no event
            await asyncio.sleep(0)


async def submit_within(
    batcher: MicroBatcher[Thing, str, str], item: Thing, limit: Deadline
) -> str:
    with deadline.scope(limit):
        return await batcher.submit(item)


# What one caller gets.


async def test_answers_an_item() -> None:
    async with batcher_of(lambda key, items: answers(items)) as batcher:
        assert await batcher.submit(Thing(7)) == "answer 7"


async def test_answers_the_items_of_a_call_in_their_order() -> None:
    things = [Thing(number, key="ab"[number % 2]) for number in range(10)]
    async with batcher_of(lambda key, items: answers(items)) as batcher:
        assert await batcher.submit_many(things) == [f"answer {n}" for n in range(10)]


async def test_a_call_without_items_costs_nothing() -> None:
    async with batcher_of(lambda key, items: pytest.fail("it ran")) as batcher:
        assert await batcher.submit_many([]) == []


@pytest.mark.parametrize(
    ("kind", "error"), [("poison", PoisonedError), ("lost", Internal), ("panic", Internal)]
)
async def test_only_the_item_at_fault_has_the_error(kind: str, error: type[Exception]) -> None:
    model = HeldModel()
    async with batcher_of(model) as batcher:
        things = [Thing(0), Thing(1, kind=kind), Thing(2)]
        call = asyncio.create_task(batcher.submit_many(things))
        await until(lambda: len(model.batches) == 1)
        model.release()
        first, second, third = await call
    assert (first, third) == ("answer 0", "answer 2")
    assert type(second) is error
    assert model.tried_alone == things


async def test_a_single_item_that_fails_is_not_tried_again() -> None:
    model = HeldModel()
    async with batcher_of(model) as batcher:
        call = asyncio.create_task(batcher.submit(Thing(0, kind="poison")))
        await until(lambda: len(model.batches) == 1)
        model.release()
        with pytest.raises(PoisonedError):
            await call
    assert model.tried_alone == []


async def test_a_wrong_number_of_results_says_which() -> None:
    async with batcher_of(lambda key, items: ["one", "two"]) as batcher:
        with pytest.raises(Internal, match="test gave 2 results for 1 items"):
            await batcher.submit(Thing(0))


# Company.


async def test_calls_of_one_turn_share_a_batch() -> None:
    model = HeldModel()
    async with batcher_of(model) as batcher:
        calls = [asyncio.create_task(batcher.submit(Thing(number))) for number in range(3)]
        await until(lambda: len(model.batches) == 1)
        model.release()
        assert await asyncio.gather(*calls) == ["answer 0", "answer 1", "answer 2"]
    assert [len(batch.items) for batch in model.batches] == [3]


async def test_company_gathers_while_the_worker_is_busy() -> None:
    model = HeldModel()
    async with batcher_of(model) as batcher:
        calls = []
        for number in range(6):
            calls.append(asyncio.create_task(batcher.submit(Thing(number))))
            await turns()
        await until(lambda: len(model.batches) == 1)
        model.release()
        await until(lambda: len(model.batches) == 2)
        model.release()
        await until(lambda: len(model.batches) == 3)
        model.release()
        await asyncio.gather(*calls)
    assert [len(batch.items) for batch in model.batches] == [1, 4, 1]


async def test_a_row_waits_for_company_while_a_worker_is_free() -> None:
    model = HeldModel()
    async with batcher_of(model, max_batch_size=3, max_queue_delay_ms=3_600_000) as batcher:
        calls = [asyncio.create_task(batcher.submit(Thing(number))) for number in range(2)]
        await turns()
        assert (batcher.queued, batcher.running) == (2, 0)
        calls.append(asyncio.create_task(batcher.submit(Thing(2))))
        await until(lambda: len(model.batches) == 1)
        model.release()
        await asyncio.gather(*calls)


async def test_a_full_key_does_not_wait_for_an_older_row_of_another() -> None:
    model = HeldModel()
    async with batcher_of(model, max_batch_size=2, max_queue_delay_ms=3_600_000) as batcher:
        lonely = asyncio.create_task(batcher.submit(Thing(0, key="a")))
        pair = asyncio.create_task(batcher.submit_many([Thing(1, key="b"), Thing(2, key="b")]))
        await until(lambda: len(model.batches) == 1)
        assert [item.number for item in model.batches[0].items] == [1, 2]
        model.release()
        await pair
        assert batcher.queued == 1
        lonely.cancel()
        await asyncio.wait([lonely])


async def test_a_row_without_company_runs_when_its_delay_has_passed() -> None:
    async with batcher_of(lambda key, items: answers(items), max_queue_delay_ms=1) as batcher:
        assert await batcher.submit(Thing(0)) == "answer 0"


async def test_as_many_batches_run_at_once_as_there_are_workers() -> None:
    model = HeldModel()
    async with batcher_of(model, max_batch_size=1, workers=2) as batcher:
        call = asyncio.create_task(batcher.submit_many([Thing(n) for n in range(4)]))
        await until(lambda: len(model.batches) == 2)
        await turns()
        assert (batcher.queued, batcher.running) == (2, 2)
        model.release()
        await until(lambda: len(model.batches) == 4)
        model.release()
        await call


@pytest.mark.parametrize(
    ("rows", "least_share", "batches"),
    [(8, 2, [3, 3, 2]), (8, 5, [5, 3]), (3, 4, [3]), (30, 2, [10, 10, 10])],
)
async def test_free_workers_share_what_waits(
    rows: int, least_share: int, batches: list[int]
) -> None:
    model = HeldModel()
    async with batcher_of(
        model, max_batch_size=10, queue_capacity=40, workers=3, least_share=least_share
    ) as batcher:
        call = asyncio.create_task(batcher.submit_many([Thing(n) for n in range(rows)]))
        await finish(model, call)
    assert [len(batch.items) for batch in model.batches] == batches


async def test_a_free_worker_leaves_those_that_run_their_share() -> None:
    model = HeldModel()
    async with batcher_of(model, workers=2, max_batch_size=10) as batcher:
        calls = [asyncio.create_task(batcher.submit_many([Thing(n) for n in range(2)]))]
        await until(lambda: len(model.batches) == 2)
        calls.append(asyncio.create_task(batcher.submit_many([Thing(n) for n in range(2, 8)])))
        await turns()
        model.batches[0].go_on.set()
        await until(lambda: len(model.batches) == 3)
        await turns()
        assert (len(model.batches[2].items), batcher.queued) == (3, 3)
        await finish(model, *calls)


async def test_what_others_wait_for_is_not_shared() -> None:
    model = HeldModel()
    async with batcher_of(model, workers=2) as batcher:
        pairs = [[Thing(0, key="a"), Thing(1, key="a")], [Thing(2, key="b"), Thing(3, key="b")]]
        await finish(model, *[batcher.submit_many(pair) for pair in pairs])
    assert sorted(batch_numbers(model.batches)) == [[0, 1], [2, 3]]


# Leaving.


async def test_a_caller_that_leaves_the_queue_costs_no_run_and_frees_its_places() -> None:
    model = HeldModel()
    async with batcher_of(model, queue_capacity=3) as batcher:
        first = asyncio.create_task(batcher.submit(Thing(0)))
        await until(lambda: len(model.batches) == 1)
        leaver = asyncio.create_task(batcher.submit_many([Thing(1), Thing(2), Thing(3)]))
        await turns()
        assert batcher.queued == 3
        leaver.cancel()
        await asyncio.wait([leaver])
        assert batcher.queued == 0
        last = asyncio.create_task(batcher.submit_many([Thing(4), Thing(5), Thing(6)]))
        await turns()
        model.release()
        await until(lambda: len(model.batches) == 2)
        model.release()
        assert await first == "answer 0"
        assert await last == ["answer 4", "answer 5", "answer 6"]
    assert [item.number for batch in model.batches for item in batch.items] == [0, 4, 5, 6]


async def test_a_caller_that_leaves_a_running_batch_harms_no_neighbour() -> None:
    model = HeldModel()
    async with batcher_of(model) as batcher:
        leaver = asyncio.create_task(batcher.submit(Thing(0)))
        neighbour = asyncio.create_task(batcher.submit(Thing(1)))
        await until(lambda: len(model.batches) == 1)
        leaver.cancel()
        await asyncio.wait([leaver])
        assert batcher.running == 1
        model.release()
        assert await neighbour == "answer 1"
    assert leaver.cancelled()


async def test_a_deadline_that_passes_in_the_queue_costs_no_run() -> None:
    model = HeldModel()
    async with batcher_of(model) as batcher:
        first = asyncio.create_task(batcher.submit(Thing(0)))
        await until(lambda: len(model.batches) == 1)
        with pytest.raises(DeadlineExceeded, match="allow more time"):
            await submit_within(batcher, Thing(1), Deadline.after(0.01))
        assert batcher.queued == 0
        model.release()
        assert await first == "answer 0"
    assert len(model.batches) == 1


async def test_a_deadline_that_passes_in_a_batch_spares_the_neighbour() -> None:
    model = HeldModel()
    async with batcher_of(model) as batcher:
        late = asyncio.create_task(submit_within(batcher, Thing(0), Deadline.after(0.01)))
        neighbour = asyncio.create_task(batcher.submit(Thing(1)))
        with pytest.raises(DeadlineExceeded):
            await late
        await until(lambda: len(model.batches) == 1)
        model.release()
        assert await neighbour == "answer 1"


async def test_a_deadline_that_has_passed_is_not_queued() -> None:
    async with batcher_of(lambda key, items: pytest.fail("it ran")) as batcher:
        with pytest.raises(DeadlineExceeded):
            await submit_within(batcher, Thing(0), Deadline.after(-1))
        assert batcher.queued == 0


class Switched(Deadline):
    """A deadline that passes when the test says so, before any timer notices."""

    passed = False

    @property
    def expired(self) -> bool:
        return type(self).passed


async def test_a_deadline_is_looked_at_again_when_the_row_would_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = HeldModel()
    async with batcher_of(model) as batcher:
        first = asyncio.create_task(batcher.submit(Thing(0)))
        await until(lambda: len(model.batches) == 1)
        late = asyncio.create_task(submit_within(batcher, Thing(1), Switched.after(3600)))
        await turns()
        assert batcher.queued == 1
        monkeypatch.setattr(Switched, "passed", True)
        await finish(model, first)
        with pytest.raises(DeadlineExceeded):
            await late
    assert len(model.batches) == 1


# Shedding.


async def test_a_full_queue_sheds_the_whole_call_and_says_how_long_to_stay_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = HeldModel()
    clock = Clock()
    monkeypatch.setattr(batching, "time", clock)
    async with batcher_of(model, max_batch_size=1, queue_capacity=3, workers=2) as batcher:
        await run_one(batcher, model)
        running = [asyncio.create_task(batcher.submit(Thing(n))) for n in (1, 2)]
        await until(lambda: len(model.batches) == 3)
        waiting = asyncio.create_task(batcher.submit_many([Thing(3), Thing(4)]))
        await turns()
        with pytest.raises(
            Overloaded, match=r"test queue is full \(2 of 3 places taken, 2 wanted\)"
        ):
            await batcher.submit_many([Thing(5), Thing(6)])
        assert batcher.queued == 2
        with pytest.raises(Overloaded) as shed:
            await batcher.submit_many([Thing(5), Thing(6)])
        # Two rows wait, each has been seen to take a second, and two workers share them.
        assert shed.value.retry_delay_s == pytest.approx(1.0)
        assert shed.value.retryable
        await finish(model, *running, waiting)


async def test_a_wait_beyond_the_deadline_is_shed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = HeldModel()
    monkeypatch.setattr(batching, "time", Clock())
    async with batcher_of(model, max_batch_size=1) as batcher:
        await run_one(batcher, model)
        running = asyncio.create_task(batcher.submit(Thing(1)))
        await until(lambda: len(model.batches) == 2)
        waiting = asyncio.create_task(batcher.submit_many([Thing(n) for n in range(2, 12)]))
        await turns()
        with pytest.raises(Overloaded, match=r"10\.000 s long, which the deadline does not allow"):
            await submit_within(batcher, Thing(12), Deadline.after(9))
        patient = asyncio.create_task(submit_within(batcher, Thing(13), Deadline.after(3600)))
        await finish(model, running, waiting, patient)
        # With nothing in the queue a short deadline is welcome again.
        last = asyncio.create_task(submit_within(batcher, Thing(14), Deadline.after(3600)))
        await finish(model, last)


async def test_no_call_is_let_in_behind_a_long_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    model = HeldModel()
    monkeypatch.setattr(batching, "time", Clock())
    async with batcher_of(model, max_batch_size=1, max_queue_wait_ms=3000) as batcher:
        await run_one(batcher, model)
        running = asyncio.create_task(batcher.submit(Thing(1)))
        await until(lambda: len(model.batches) == 2)
        # Each row has been seen to take a second. What waits counts, and not what comes.
        large = asyncio.create_task(batcher.submit_many([Thing(2), Thing(3), Thing(4)]))
        await turns()
        last = asyncio.create_task(batcher.submit_many([Thing(5), Thing(6)]))
        await turns()
        assert batcher.queued == 5
        with pytest.raises(Overloaded, match=r"5\.000 s long \(3\.000 s are the most\)") as shed:
            await batcher.submit(Thing(7))
        assert shed.value.retry_delay_s == pytest.approx(2.0)
        await finish(model, running, large, last)


@pytest.mark.parametrize(
    ("standing_wait_ms", "most_rows"), [(0, 3), (1900, 3), (4000, 5), (9000, 7)]
)
async def test_a_queue_that_stays_is_kept_short(
    monkeypatch: pytest.MonkeyPatch, standing_wait_ms: float, most_rows: int
) -> None:
    """Of rows of a second each, two a batch: the next batch may wait, and what is allowed."""
    model = HeldModel()
    monkeypatch.setattr(batching, "time", Clock())
    async with batcher_of(
        model, max_batch_size=2, max_queue_wait_ms=6000, max_standing_wait_ms=standing_wait_ms
    ) as batcher:
        await run_one(batcher, model)
        running = asyncio.create_task(batcher.submit(Thing(1)))
        await until(lambda: len(model.batches) == 2)
        waiting = [asyncio.create_task(batcher.submit(Thing(2)))]
        await turns()
        monkeypatch.setattr(batching, "STANDING_S", 0.0)
        for number in range(most_rows - 1):
            waiting.append(asyncio.create_task(batcher.submit(Thing(3 + number))))
            await turns()
        assert batcher.queued == most_rows
        with pytest.raises(Overloaded, match=rf"{most_rows}\.000 s long"):
            await batcher.submit(Thing(20))
        # What came first is served; then it may be a burst again.
        await finish(model, running, *waiting)
        monkeypatch.setattr(batching, "STANDING_S", 3600.0)
        batches = len(model.batches)
        running = asyncio.create_task(batcher.submit(Thing(21)))
        await until(lambda: len(model.batches) > batches)
        burst = [asyncio.create_task(batcher.submit(Thing(30 + number))) for number in range(6)]
        await turns()
        assert batcher.queued == 6
        await finish(model, running, *burst)


async def test_an_unmeasured_queue_still_names_a_delay() -> None:
    model = HeldModel()
    async with batcher_of(model, queue_capacity=1) as batcher:
        first = asyncio.create_task(batcher.submit(Thing(0)))
        await until(lambda: len(model.batches) == 1)
        second = asyncio.create_task(batcher.submit(Thing(1)))
        await turns()
        with pytest.raises(Overloaded) as shed:
            await batcher.submit(Thing(2))
        assert shed.value.retry_delay_s == pytest.approx(0.01)
        await finish(model, first, second)


async def test_a_call_that_can_never_fit_is_a_mistake_and_not_overload() -> None:
    async with batcher_of(lambda key, items: answers(items), queue_capacity=2) as batcher:
        with pytest.raises(
            ValueError, match="3 items never fits the test queue, which holds 2; raise"
        ):
            await batcher.submit_many([Thing(0), Thing(1), Thing(2)])


async def test_an_item_without_a_key_leaves_nothing_behind() -> None:
    def key_of(item: Thing) -> str:
        raise PoisonedError(item.number)

    batcher: MicroBatcher[Thing, str, str] = MicroBatcher(
        lambda key, items: answers(items),
        key=key_of,
        name="test",
        max_batch_size=1,
        max_queue_delay_ms=0,
        queue=QueueBounds(1),
    )
    async with batcher:
        with pytest.raises(PoisonedError):
            await batcher.submit(Thing(0))
        assert batcher.queued == 0


@pytest.mark.parametrize(
    "setting",
    [
        *("max_batch_size", "queue_capacity", "workers", "least_share"),
        *("max_queue_delay_ms", "max_queue_wait_ms", "max_standing_wait_ms"),
    ],
)
def test_impossible_settings_are_refused(setting: str) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        batcher_of(lambda key, items: answers(items), **{setting: -1})


# Closing.


async def test_closing_finishes_what_waits_and_runs_and_refuses_the_rest() -> None:
    model = HeldModel()
    batcher = batcher_of(model, max_batch_size=1, max_queue_delay_ms=3_600_000, workers=1)
    calls = [asyncio.create_task(batcher.submit(Thing(number))) for number in range(2)]
    await until(lambda: len(model.batches) == 1)
    closing = asyncio.create_task(batcher.close())
    await turns()
    with pytest.raises(Unavailable, match="test is shutting down; send the request to another"):
        await batcher.submit(Thing(2))
    assert not closing.done()
    await finish(model, *calls, closing)
    assert [call.result() for call in calls] == ["answer 0", "answer 1"]
    assert (batcher.queued, batcher.running) == (0, 0)


async def test_closing_does_not_wait_for_company() -> None:
    batcher = batcher_of(lambda key, items: answers(items), max_queue_delay_ms=3_600_000)
    call = asyncio.create_task(batcher.submit(Thing(0)))
    await turns()
    assert batcher.queued == 1
    await batcher.close()
    assert await call == "answer 0"


async def test_closing_that_is_cut_short_answers_those_who_still_wait() -> None:
    model = HeldModel()
    batcher = batcher_of(model)
    running = asyncio.create_task(batcher.submit(Thing(0)))
    await until(lambda: len(model.batches) == 1)
    waiting = asyncio.create_task(batcher.submit(Thing(1)))
    await turns()
    closing = asyncio.create_task(batcher.close())
    await turns()
    closing.cancel()
    with pytest.raises(Unavailable):
        await waiting
    assert batcher.queued == 0
    model.release()
    assert await running == "answer 0"
    await until(lambda: batcher.running == 0)


# The queue and the call on their own.


def test_the_queue_forgets_a_key_without_rows() -> None:
    queue: RowQueue[int, str, str] = RowQueue()

    async def fill() -> Row[int, str, str]:
        row = Row(1, "a", Request[str](1, None), 0, 0.0)
        queue.add(row)
        return row

    row = asyncio.run(fill())
    assert queue.oldest_of("a") is row
    assert queue.discard(row)
    assert not queue.discard(row)
    assert queue.oldest() is None
    assert queue.oldest_of("a") is None
    assert queue.oldest_of_full(1) is None


async def test_a_call_notices_its_deadline_before_its_timer_does() -> None:
    request: Request[str] = Request(1, Deadline.after(-1))
    assert not request.settled.done()
    assert not request.is_awaited()
    assert isinstance(request.settled.result(), DeadlineExceeded)
    assert request.why_left() is RowOutcome.EXPIRED


# Everything at once: random calls, departures and batches against a plain model of what must
# happen.

Op: TypeAlias = tuple[str, int] | tuple[str, list[tuple[str, str]]]

_items = st.tuples(
    st.sampled_from("aabc"), st.sampled_from(["good", "good", "good", "poison", "lost"])
)
_calls = st.tuples(st.just("call"), st.lists(_items, min_size=1, max_size=5))
_leaves = st.tuples(st.just("leave"), st.integers(0, 30))
# What happens in one turn of the loop: some calls and departures, or the end of a batch.
_turns = st.one_of(
    st.lists(st.one_of(_calls, _leaves), min_size=1, max_size=4),
    st.lists(st.tuples(st.just("finish"), st.integers(0, 3)), min_size=1, max_size=1),
)


class World:
    """A batcher, its callers, and beside them what the batcher must do."""

    def __init__(
        self, max_batch_size: int, queue_capacity: int, workers: int, least_share: int
    ) -> None:
        self.model = HeldModel()
        self.batcher = batcher_of(
            self.model,
            max_batch_size=max_batch_size,
            queue_capacity=queue_capacity,
            workers=workers,
            least_share=least_share,
        )
        self.max_batch_size = max_batch_size
        self.queue_capacity = queue_capacity
        self.workers = workers
        self.least_share = least_share
        self.tasks: list[asyncio.Task[list[str | Exception]]] = []
        self.things: list[list[Thing]] = []
        self.shed: set[int] = set()
        self.left: set[int] = set()
        self.waiting: list[Thing] = []
        self.running: list[list[Thing]] = []
        self.begun: list[list[Thing]] = []
        self.numbers: Iterator[int] = iter(range(10_000))

    async def turn(self, ops: list[Op]) -> None:
        """Does `ops` without letting the loop turn between them, then compares both worlds."""
        effects: list[tuple[Callable[[int], None], int]] = []
        for name, argument in ops:
            if name == "call" and isinstance(argument, list):
                effects.append((self.admit, self.call(argument)))
            elif name == "leave" and isinstance(argument, int) and self.tasks:
                effects.append((self.withdraw, self.leave(argument % len(self.tasks))))
            elif name == "finish" and isinstance(argument, int) and self.running:
                await self.finish(argument % len(self.running))
        for effect, call in effects:
            effect(call)
        self.start_what_is_due()
        await self.compare()

    def call(self, items: list[tuple[str, str]]) -> int:
        things = [Thing(next(self.numbers), key, kind) for key, kind in items]
        self.tasks.append(asyncio.create_task(self.batcher.submit_many(things)))
        self.things.append(things)
        return len(self.tasks) - 1

    def leave(self, call: int) -> int:
        if not self.tasks[call].done():
            event(f"a caller leaves with {self.where(call)}")
            self.tasks[call].cancel()
            self.left.add(call)
        return call

    def where(self, call: int) -> str:
        states = {
            "waiting": any(thing in self.waiting for thing in self.things[call]),
            "running": any(thing in batch for batch in self.running for thing in self.things[call]),
        }
        return " and ".join(state for state, holds in states.items() if holds) or "nothing"

    def admit(self, call: int) -> None:
        things = self.things[call]
        if call in self.left:
            return  # it left before its first step
        if len(self.waiting) + len(things) > self.queue_capacity:
            event("a call is shed")
            self.shed.add(call)
        else:
            self.waiting.extend(things)

    def withdraw(self, call: int) -> None:
        if call in self.left:
            self.waiting = [thing for thing in self.waiting if thing not in self.things[call]]

    async def finish(self, index: int) -> None:
        """Lets one running batch end, and waits until the batcher has taken note."""
        things = self.running.pop(index)
        (batch,) = (batch for batch in self.model.batches if batch.items == things)
        started = len(self.model.batches)
        batch.go_on.set()
        due = min(self.workers - len(self.running), len(self.expected_batches()))
        now_running = len(self.running) + due
        await until(
            lambda: len(self.model.batches) == started + due and self.batcher.running == now_running
        )

    def expected_batches(self) -> list[list[Thing]]:
        """The batches that free workers must take from what waits, in their order."""
        batches, waiting = [], list(self.waiting)
        share = max(-(-len(waiting) // self.workers), self.least_share)
        for _ in range(self.workers - len(self.running)):
            if waiting:
                same_key = [thing for thing in waiting if thing.key == waiting[0].key]
                batches.append(same_key[: min(share, self.max_batch_size)])
                waiting = [thing for thing in waiting if thing not in batches[-1]]
        return batches

    def start_what_is_due(self) -> None:
        for batch in self.expected_batches():
            self.waiting = [thing for thing in self.waiting if thing not in batch]
            self.running.append(batch)
            self.begun.append(batch)

    async def compare(self) -> None:
        await turns()
        await until(lambda: len(self.model.batches) >= len(self.begun))
        # Batches that start together reach the model in any order.
        assert sorted(batch_numbers(self.model.batches)) == sorted(
            [thing.number for thing in batch] for batch in self.begun
        )
        assert self.batcher.queued == len(self.waiting) <= self.queue_capacity
        assert self.batcher.running == len(self.running) <= self.workers

    async def end(self) -> None:
        while self.running:
            await self.turn([("finish", 0)])
        await self.batcher.close()
        for call, task in enumerate(self.tasks):
            self.check_outcome(call, task)
        assert (self.batcher.queued, self.batcher.running) == (0, 0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    def check_outcome(self, call: int, task: asyncio.Task[list[str | Exception]]) -> None:
        if call in self.left:
            assert task.cancelled()
        elif call in self.shed:
            assert isinstance(task.exception(), Overloaded)
        else:
            for thing, outcome in zip(self.things[call], task.result(), strict=True):
                check_item(thing, outcome)


def batch_numbers(batches: list[Batch]) -> list[list[int]]:
    return [[item.number for item in batch.items] for batch in batches]


def check_item(thing: Thing, outcome: str | Exception) -> None:
    match thing.kind:
        case "good":
            assert outcome == f"answer {thing.number}"
        case "poison":
            assert isinstance(outcome, PoisonedError)
            assert outcome.args == ([thing.number],)
        case _:
            assert isinstance(outcome, Internal)


@given(
    script=st.lists(_turns, max_size=25),
    max_batch_size=st.integers(1, 4),
    queue_capacity=st.integers(5, 12),
    workers=st.integers(1, 3),
    least_share=st.integers(1, 5),
)
@settings(max_examples=300, deadline=None)
def test_random_calls_and_departures(
    script: list[list[Op]],
    max_batch_size: int,
    queue_capacity: int,
    workers: int,
    least_share: int,
) -> None:
    async def play() -> None:
        world = World(max_batch_size, queue_capacity, workers, least_share)
        for ops in script:
            await world.turn(ops)
        await world.end()

    asyncio.run(play())


class Clock:
    """Stands in for the module `time`: every run takes a second."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._lock = threading.Lock()

    def perf_counter(self) -> float:
        with self._lock:
            self._now_s += 1.0
            return self._now_s


async def run_one(batcher: MicroBatcher[Thing, str, str], model: HeldModel) -> None:
    """One row goes through, so that a service time has been measured."""
    await finish(model, asyncio.create_task(batcher.submit(Thing(0))))


async def finish(model: HeldModel, *work: Awaitable[object]) -> None:
    """Releases batches until `work` is done."""
    everything = asyncio.gather(*work)
    while not everything.done():
        model.release()
        await asyncio.sleep(0)
    await everything
