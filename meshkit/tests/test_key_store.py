"""The key store against a real Redis."""

import asyncio
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis

from meshkit import names
from meshkit.errors import InvalidArgument, NotFound, Unavailable
from meshkit.hashing_keys import HashingKey
from meshkit.key_records import Grant, KeyRecord, Tenant
from meshkit.key_store import KeyStore
from meshkit.keys import ApiKey
from meshkit.rates import Rate
from redis_server import RedisServer

HASHING_KEY = HashingKey(bytes(range(32)))
GRANT = Grant("checkout", "shop", frozenset({"classifier"}), Rate(10, "s", 5), 4)


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[KeyStore]:
    async with KeyStore(redis_server.url, timeout_s=0.5, actor="test@here") as opened:
        yield opened


async def make(store: KeyStore, **values: object) -> tuple[ApiKey, KeyRecord]:
    return await store.create(HASHING_KEY, replace(GRANT, **values))  # type: ignore[arg-type]  # by name


async def test_what_was_made_is_found(store: KeyStore) -> None:
    key, record = await make(store)
    assert await store.get(key.id) == record
    assert HASHING_KEY.matches(key, record.hash)
    assert record.grant == GRANT
    assert record.revoked_at is None


async def test_redis_never_sees_the_key(store: KeyStore, redis_server: RedisServer) -> None:
    key, _ = await make(store)
    with Redis.from_url(redis_server.url, decode_responses=True) as redis:
        row = f"{names.REDIS_KEY}:{{{key.id}}}"
        assert set(redis.scan_iter()) == {names.REDIS_KEYS, names.REDIS_KEYS_AUDIT, row}
        stored = str(redis.hgetall(row)) + str(redis.xrange(names.REDIS_KEYS_AUDIT))
    assert key.text not in stored
    assert key.text.rpartition("_")[2] not in stored


async def test_an_unknown_id_has_no_record(store: KeyStore) -> None:
    assert await store.get("nobody") is None


async def test_the_list_is_in_the_order_of_making(store: KeyStore) -> None:
    made = [(await make(store, name=name))[1] for name in ("first", "second", "third")]
    assert await store.list() == made


async def test_an_id_without_a_record_is_passed_over(
    store: KeyStore, redis_server: RedisServer
) -> None:
    with Redis.from_url(redis_server.url) as redis:
        redis.zadd(names.REDIS_KEYS, {"lost": 1.0})
    assert await store.list() == []


async def test_a_revoked_key_stays_revoked_since_the_first_time(store: KeyStore) -> None:
    key, _ = await make(store)
    revoked = await store.revoke(key.id)
    assert revoked.revoked_at is not None
    assert await store.revoke(key.id) == revoked == await store.get(key.id)


async def test_what_is_not_there_can_not_be_changed(store: KeyStore) -> None:
    for call in (
        store.revoke("nobody"),
        store.rotate(HASHING_KEY, "nobody", timedelta(hours=1)),
    ):
        with pytest.raises(NotFound, match="no key 'nobody'"):
            await call
    assert await store.get("nobody") is None
    assert await store.acts(10) == []


async def test_what_makes_no_sense_is_not_made(store: KeyStore) -> None:
    with pytest.raises(InvalidArgument):
        await make(store, name="")
    assert await store.list() == []
    assert await store.acts(10) == []


class TestRotation:
    async def test_the_new_key_may_what_the_old_one_might_which_ends_after_its_grace(
        self, store: KeyStore
    ) -> None:
        old, _ = await make(store)
        before = datetime.now(UTC)
        new, record = await store.rotate(HASHING_KEY, old.id, timedelta(hours=1))
        assert new.id != old.id
        assert record.grant == GRANT
        assert record.replaces == old.id
        ending = await store.get(old.id)
        assert ending is not None
        assert ending.grant.expires_at is not None
        assert before + timedelta(hours=1) <= ending.grant.expires_at
        assert ending.grant.expires_at <= datetime.now(UTC) + timedelta(hours=1)
        assert ending.revoked_at is None

    async def test_a_grace_gives_no_key_a_longer_life(self, store: KeyStore) -> None:
        soon = datetime.now(UTC) + timedelta(minutes=1)
        old, _ = await make(store, expires_at=soon)
        await store.rotate(HASHING_KEY, old.id, timedelta(hours=1))
        ending = await store.get(old.id)
        assert ending is not None
        assert ending.grant.expires_at == soon

    async def test_a_revoked_key_is_not_replaced(self, store: KeyStore) -> None:
        old, _ = await make(store)
        await store.revoke(old.id)
        with pytest.raises(InvalidArgument, match="is revoked or has expired"):
            await store.rotate(HASHING_KEY, old.id, timedelta(hours=1))
        assert len(await store.list()) == 1


class TestRehash:
    async def test_a_key_is_hashed_with_another_hashing_key(self, store: KeyStore) -> None:
        key, record = await make(store)
        newer = HashingKey.generate()
        assert await store.rehash(record, newer, key)
        changed = await store.get(key.id)
        assert changed is not None
        assert changed.hashing_key == newer.id
        assert newer.matches(key, changed.hash)
        assert replace(changed, hash=record.hash, hashing_key=record.hashing_key) == record

    async def test_a_record_that_has_changed_is_left_alone(self, store: KeyStore) -> None:
        key, record = await make(store)
        first, second = HashingKey.generate(), HashingKey.generate()
        assert await store.rehash(record, first, key)
        assert not await store.rehash(record, second, key)
        changed = await store.get(key.id)
        assert changed is not None
        assert changed.hashing_key == first.id


async def test_the_last_use_never_goes_back(store: KeyStore) -> None:
    early, late = (datetime(2026, 5, 4, 3, minute, tzinfo=UTC) for minute in (1, 2))
    await store.note_used({"a": late, "b": early})
    await store.note_used({"a": early})
    await store.note_used({})
    assert await store.last_used(["a", "b", "never"]) == {"a": late, "b": early}
    assert await store.last_used([]) == {}


async def test_a_tenant_has_the_rate_that_was_set_last(store: KeyStore) -> None:
    assert await store.get_tenant("shop") is None
    await store.set_tenant(Tenant("shop", Rate(5, "s", 5)))
    await store.set_tenant(Tenant("shop", Rate(600, "m", 100)))
    await store.set_tenant(Tenant("bank", Rate(1, "s", 1)))
    assert await store.get_tenant("shop") == Tenant("shop", Rate(600, "m", 100))
    assert [tenant.name for tenant in await store.list_tenants()] == ["bank", "shop"]
    await store.set_tenant(Tenant("bank", None))
    assert await store.get_tenant("bank") is None
    with pytest.raises(InvalidArgument):
        await store.set_tenant(Tenant("two\nlines", None))


async def test_every_change_is_written_down(store: KeyStore) -> None:
    key, _ = await make(store)
    new, _ = await store.rotate(HASHING_KEY, key.id, timedelta(hours=1))
    await store.revoke(key.id)
    await store.set_tenant(Tenant("shop", Rate(5, "s", 5)))
    await store.note("rotate-hashing-key", "0123", {"keys": 2})
    acts = await store.acts(10)
    assert [(act.action, act.subject) for act in reversed(acts)] == [
        ("create", key.id),
        ("rotate", new.id),
        ("revoke", key.id),
        ("set-tenant", "shop"),
        ("rotate-hashing-key", "0123"),
    ]
    assert {act.actor for act in acts} == {"test@here"}
    assert acts[-1].details["scopes"] == "classifier"
    assert acts[-1].details["rate"] == "10/s:5"
    assert acts[3].details["replaces"] == key.id
    assert abs(acts[0].when - datetime.now(UTC)) < timedelta(minutes=1)
    assert [act.action for act in await store.acts(1)] == ["rotate-hashing-key"]


async def test_a_store_that_is_gone_is_unavailable(
    store: KeyStore, redis_server: RedisServer
) -> None:
    redis_server.stop()
    for call in (store.get("a"), store.list(), store.revoke("a"), store.ping()):
        with pytest.raises(Unavailable) as caught:
            await call
        assert caught.value.reason == "KEY_STORE_UNAVAILABLE"


async def test_a_store_that_hangs_is_unavailable(
    store: KeyStore, redis_server: RedisServer
) -> None:
    await store.ping()
    redis_server.process.send_signal(signal.SIGSTOP)
    async with asyncio.timeout(10):
        with pytest.raises(Unavailable):
            await store.get("a")


async def test_a_store_that_comes_back_is_used_at_once(
    store: KeyStore, redis_server: RedisServer
) -> None:
    await asyncio.gather(*(store.ping() for _ in range(8)))
    redis_server.stop()
    redis_server.start()
    assert await store.get("a") is None
