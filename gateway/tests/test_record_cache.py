"""What is remembered of keys, for how long, and what happens when the store is away."""

import asyncio
from datetime import UTC, datetime

import pytest

from mesh_gateway.record_cache import FRESH_S, RETRY_EVERY_S, STALE_S, RecordCache
from meshkit.errors import Internal, Unavailable
from meshkit.key_records import Grant, KeyRecord


class Store:
    """A store whose answers, failures and clock a test decides."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.known: dict[str, KeyRecord] = {}
        self.failure: Exception | None = None
        self.asked: list[str] = []
        self.is_asked = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()

    def clock(self) -> float:
        return self.now_s

    async def fetch(self, key_id: str) -> KeyRecord | None:
        self.asked.append(key_id)
        self.is_asked.set()
        await self.answers.wait()
        if self.failure:
            raise self.failure
        return self.known.get(key_id)

    def add(self, key_id: str, name: str = "name") -> KeyRecord:
        self.known[key_id] = KeyRecord(
            id=key_id,
            hash=b"",
            hashing_key="",
            grant=Grant(name, "tenant", frozenset()),
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
        return self.known[key_id]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def cache(store: Store) -> RecordCache[KeyRecord]:
    return RecordCache("key", store.fetch, capacity=3, clock=store.clock)


async def test_a_key_is_asked_for_once_while_it_is_fresh(
    store: Store, cache: RecordCache[KeyRecord]
) -> None:
    record = store.add("a")
    for _ in range(3):
        assert await cache.get("a") == record
        store.now_s += FRESH_S / 3 - 0.1
    assert store.asked == ["a"]


async def test_a_change_is_seen_when_the_record_is_no_longer_fresh(
    store: Store, cache: RecordCache[KeyRecord]
) -> None:
    store.add("a", "old")
    await cache.get("a")
    changed = store.add("a", "new")
    store.now_s += FRESH_S
    assert await cache.get("a") == changed


async def test_an_unknown_key_is_remembered_too(
    store: Store, cache: RecordCache[KeyRecord]
) -> None:
    assert await cache.get("a") is None
    assert await cache.get("a") is None
    assert store.asked == ["a"]
    record = store.add("a")
    store.now_s += FRESH_S
    assert await cache.get("a") == record


async def test_unknown_keys_push_no_known_one_out(
    store: Store, cache: RecordCache[KeyRecord]
) -> None:
    store.add("a")
    await cache.get("a")
    for number in range(10):
        await cache.get(f"unknown-{number}")
    await cache.get("a")
    assert store.asked.count("a") == 1


async def test_the_least_recently_used_is_forgotten(
    store: Store, cache: RecordCache[KeyRecord]
) -> None:
    for key_id in "abc":
        store.add(key_id)
        await cache.get(key_id)
    await cache.get("a")
    store.add("d")
    await cache.get("d")
    await cache.get("a")
    assert store.asked == ["a", "b", "c", "d"]
    await cache.get("b")
    assert store.asked[-1] == "b"


async def test_only_so_many_unknown_keys_are_remembered(
    store: Store, cache: RecordCache[KeyRecord]
) -> None:
    for number in range(4):
        await cache.get(f"unknown-{number}")
    await cache.get("unknown-0")
    assert len(store.asked) == 5


async def test_a_remembered_key_passes_while_the_store_is_away(
    store: Store, cache: RecordCache[KeyRecord]
) -> None:
    record = store.add("a")
    await cache.get("a")
    store.failure = Unavailable("gone")
    store.now_s += STALE_S - 0.1
    assert await cache.get("a") == record
    store.now_s += 0.1
    with pytest.raises(Unavailable):
        await cache.get("a")


async def test_a_store_that_is_away_is_not_asked_for_every_request(
    store: Store, cache: RecordCache[KeyRecord]
) -> None:
    store.add("a")
    await cache.get("a")
    store.failure = Unavailable("gone")
    store.now_s += FRESH_S
    for _ in range(5):
        await cache.get("a")
    assert len(store.asked) == 2
    store.now_s += RETRY_EVERY_S
    store.failure = None
    changed = store.add("a", "new")
    assert await cache.get("a") == changed


async def test_an_unknown_key_is_unavailable_while_the_store_is_away(
    store: Store, cache: RecordCache[KeyRecord]
) -> None:
    await cache.get("a")
    store.failure = Unavailable("gone")
    assert await cache.get("a") is None
    store.now_s += FRESH_S
    for key_id in ("a", "b"):
        with pytest.raises(Unavailable):
            await cache.get(key_id)


async def test_another_failure_is_not_hidden(store: Store, cache: RecordCache[KeyRecord]) -> None:
    store.add("a")
    await cache.get("a")
    store.failure = Internal("damaged")
    store.now_s += FRESH_S
    with pytest.raises(Internal):
        await cache.get("a")


async def test_those_that_want_a_key_at_once_ask_once(
    store: Store, cache: RecordCache[KeyRecord]
) -> None:
    record = store.add("a")
    store.answers.clear()
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(cache.get("a")) for _ in range(10)]
        await store.is_asked.wait()
        store.answers.set()
    assert [task.result() for task in waiting] == [record] * 10
    assert store.asked == ["a"]


async def test_one_that_leaves_takes_nothing_from_the_others(
    store: Store, cache: RecordCache[KeyRecord]
) -> None:
    record = store.add("a")
    store.answers.clear()
    first = asyncio.create_task(cache.get("a"))
    second = asyncio.create_task(cache.get("a"))
    await store.is_asked.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    store.answers.set()
    assert await second == record
    assert store.asked == ["a"]


async def test_a_failure_that_nobody_waits_for_is_no_noise(
    store: Store, cache: RecordCache[KeyRecord]
) -> None:
    """An exception that nobody retrieves would be a warning, and so a failure of this test."""
    store.answers.clear()
    store.failure = Unavailable("gone")
    only = asyncio.create_task(cache.get("a"))
    await store.is_asked.wait()
    only.cancel()
    await asyncio.gather(only, return_exceptions=True)
    store.answers.set()
    for _ in range(3):
        await asyncio.sleep(0)


async def test_closing_ends_what_is_under_way(store: Store, cache: RecordCache[KeyRecord]) -> None:
    store.answers.clear()
    async with cache:
        waiting = asyncio.create_task(cache.get("a"))
        await store.is_asked.wait()
    assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], BaseException)
