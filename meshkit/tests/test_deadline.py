import asyncio
import contextlib
import weakref

import pytest

from conftest import uncollected
from meshkit import deadline
from meshkit.deadline import Deadline
from meshkit.errors import Cancelled, DeadlineExceeded


def test_time_runs_out() -> None:
    assert 9 < Deadline.after(10).remaining_s <= 10
    assert not Deadline.after(10).expired
    Deadline.after(10).check()
    passed = Deadline.after(0)
    assert passed.expired
    with pytest.raises(DeadlineExceeded):
        passed.check()


def test_a_scope_can_only_shorten() -> None:
    early, late = Deadline.after(1), Deadline.after(100)
    assert deadline.current() is None
    with deadline.scope(early):
        with deadline.scope(late) as effective:
            assert effective == early == deadline.current()
        assert deadline.current() == early
    with deadline.scope(late), deadline.scope(early):
        assert deadline.current() == early
    assert deadline.current() is None


async def test_work_is_cancelled_when_the_time_is_over() -> None:
    cancelled = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with deadline.scope(Deadline.after(0.01)), pytest.raises(DeadlineExceeded):
        await deadline.enforce(work())
    assert cancelled.is_set()


async def test_a_timeout_of_the_work_itself_stays_what_it_is() -> None:
    async def work() -> None:
        raise TimeoutError("of the work")

    with deadline.scope(Deadline.after(10)), pytest.raises(TimeoutError, match="of the work"):
        await deadline.enforce(work())


async def test_work_without_a_deadline_is_awaited() -> None:
    assert await deadline.enforce(asyncio.sleep(0, "done")) == "done"


async def test_what_is_enforced_already_is_cancelled_once() -> None:
    with (
        deadline.scope(Deadline.after(0.01)),
        pytest.raises(DeadlineExceeded),
        deadline.enforced(),
    ):
        await deadline.enforce(asyncio.Event().wait())


async def test_a_shorter_deadline_inside_is_enforced() -> None:
    with (
        deadline.scope(Deadline.after(60)),
        deadline.enforced(),
        deadline.scope(Deadline.after(0.01)),
        pytest.raises(DeadlineExceeded),
    ):
        await deadline.enforce(asyncio.Event().wait())


async def test_a_task_that_was_begun_inside_keeps_to_the_deadline_too() -> None:
    with deadline.scope(Deadline.after(0.05)), deadline.enforced():
        task = asyncio.create_task(deadline.enforce(asyncio.Event().wait()))
    with pytest.raises(DeadlineExceeded):
        await task


async def test_what_is_released_goes_on_and_its_calls_keep_to_the_deadline() -> None:
    with deadline.scope(Deadline.after(0)), deadline.enforced() as enforced:
        enforced.release()
        await asyncio.sleep(0)  # a turn of the loop, in which it would be cancelled
        with pytest.raises(DeadlineExceeded):
            await deadline.enforce(asyncio.Event().wait())


async def test_what_is_inside_can_be_ended_with_another_error() -> None:
    error = Cancelled("the caller left")

    async def work() -> None:
        loop = asyncio.get_running_loop()
        with deadline.scope(Deadline.after(60)), deadline.enforced() as enforced:
            loop.call_soon(enforced.end, error)
            loop.call_soon(enforced.end, Cancelled("again"))
            await asyncio.Event().wait()

    with pytest.raises(Cancelled) as caught:
        await work()
    assert caught.value is error
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_who_cancels_the_task_at_the_same_time_wins() -> None:
    async def work() -> None:
        with deadline.enforced() as enforced:
            enforced.end(Cancelled("the caller left"))
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_nothing_ends_what_is_over() -> None:
    with deadline.enforced() as enforced:
        pass
    enforced.end(Cancelled("too late"))
    await asyncio.sleep(0)


async def test_what_was_ended_is_freed_without_the_collector() -> None:
    """Callers that leave are many, and the collector looks at what is old once in a long while."""
    waits: list[weakref.ref[asyncio.Event]] = []

    async def work() -> None:
        event = asyncio.Event()
        waits.append(weakref.ref(event))
        with deadline.enforced() as enforced:
            asyncio.get_running_loop().call_soon(enforced.end, Cancelled("the caller left"))
            await event.wait()

    with uncollected():
        with contextlib.suppress(Cancelled):
            await work()
        await asyncio.sleep(0)  # the step that the cancellation came with still holds it
        assert waits[0]() is None
