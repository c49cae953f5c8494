"""The API keys and tenants of a mesh, in Redis, with a log of what was done to them.

Every change is written down before it is made: there may be an act without its effect, never an
effect without its act.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from redis.asyncio import Redis

from meshkit import names
from meshkit.allowance import NO_ALLOWANCE, Allowance
from meshkit.errors import InvalidArgument, NotFound
from meshkit.hashing_keys import HashingKey
from meshkit.key_records import Act, Grant, KeyRecord, Tenant, check_name
from meshkit.keys import ApiKey
from meshkit.rates import Rate
from meshkit.redis_client import Outage, RedisClient

_MAX_CONNECTIONS: Final = 32
_MOST_ACTS: Final = 100_000
_Fields = Mapping[str, str]
# Hashes a key anew, unless it was changed since its record was read.
_REHASH: Final = """
if redis.call('HGET', KEYS[1], 'hashing_key') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'hash', ARGV[2], 'hashing_key', ARGV[3])
return 1
"""


class KeyStore(RedisClient):
    """The records of all keys. Use it as an async context manager.

    Every call is bounded in time; a store that can't be reached is `Unavailable`, never a refusal.

    Args:
        url: of the Redis, `redis://`, `rediss://` or `unix://`.
        timeout_s: most seconds of one call.
        actor: who makes changes, for the log of them.
        outage: shared with the other clients of this Redis.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 1.0,
        actor: str = "unknown",
        outage: Outage | None = None,
    ) -> None:
        super().__init__(
            url,
            timeout_s=timeout_s,
            max_connections=_MAX_CONNECTIONS,
            unreachable=(
                "the key store can't be reached, so no key can be checked; try again in a moment"
            ),
            reason="KEY_STORE_UNAVAILABLE",
            outage=outage,
        )
        self._actor = actor

    async def create(self, hashing_key: HashingKey, grant: Grant) -> tuple[ApiKey, KeyRecord]:
        """Makes a key and stores its record; the key itself is nowhere but in the answer.

        Raises:
            InvalidArgument: a field of the grant makes no sense.
            Unavailable: the store can't be reached.
        """
        grant.check()
        return await self._make(hashing_key, grant, "create", None)

    async def get(self, key_id: str) -> KeyRecord | None:
        """The record of a key; None where there is none.

        Raises:
            Unavailable: the store can't be reached.
        """
        async with self.use() as redis:
            fields = cast(_Fields, await redis.hgetall(_key(key_id)))
        return KeyRecord.from_fields(key_id, fields) if fields else None

    async def existing(self, key_id: str) -> KeyRecord:
        """The record of a key that should be there.

        Raises:
            NotFound: there is no such key.
            Unavailable: the store can't be reached.
        """
        record = await self.get(key_id)
        if record is None:
            raise NotFound(f"there is no key {key_id!r}; `mesh keys list` shows all")
        return record

    async def list(self) -> list[KeyRecord]:
        """Every record, the oldest first, the revoked ones too.

        Raises:
            Unavailable: the store can't be reached.
        """
        async with self.use() as redis:
            ids = cast(Sequence[str], await redis.zrange(names.REDIS_KEYS, 0, -1))
            pipeline = redis.pipeline(transaction=False)
            for key_id in ids:
                pipeline.hgetall(_key(key_id))
            rows: Sequence[_Fields] = await pipeline.execute()
        return [
            KeyRecord.from_fields(key_id, fields)
            for key_id, fields in zip(ids, rows, strict=True)
            if fields
        ]

    async def revoke(self, key_id: str) -> KeyRecord:
        """Makes a key invalid; every gateway refuses it within 30 seconds.

        A key that is revoked already stays so since then.

        Raises:
            NotFound: there is no such key.
            Unavailable: the store can't be reached.
        """
        record = await self.existing(key_id)
        if record.revoked_at is not None:
            return record
        now = datetime.now(UTC)
        async with self.use() as redis:
            await self._log(redis, "revoke", key_id, {})
            await redis.hsetnx(_key(key_id), "revoked_at", now.isoformat())
        return replace(record, revoked_at=now)

    async def rotate(
        self, hashing_key: HashingKey, key_id: str, grace: timedelta
    ) -> tuple[ApiKey, KeyRecord]:
        """Makes a key in the place of another, which stays valid for a while.

        Args:
            hashing_key: the one to make it with.
            key_id: of the key that is replaced.
            grace: how long that one stays valid.

        Raises:
            NotFound: there is no such key.
            InvalidArgument: it is revoked, or has expired.
            Unavailable: the store can't be reached.
        """
        old = await self.existing(key_id)
        now = datetime.now(UTC)
        over = old.revoked_at is not None or (old.grant.expires_at or now + grace) <= now
        if over:
            raise InvalidArgument.of_field(
                "key", f"{key_id} is revoked or has expired; make a new one instead"
            )
        key, record = await self._make(hashing_key, old.grant, "rotate", key_id)
        ends = min(now + grace, old.grant.expires_at or now + grace)
        async with self.use() as redis:
            await redis.hset(_key(key_id), "expires_at", ends.isoformat())
        return key, record

    async def rehash(self, record: KeyRecord, hashing_key: HashingKey, key: ApiKey) -> bool:
        """Hashes a key with another hashing key, unless its record has changed.

        Returns:
            Whether it was done.

        Raises:
            Unavailable: the store can't be reached.
        """
        arguments = (record.hashing_key, hashing_key.hash(key).hex(), hashing_key.id)
        async with self.use() as redis:
            return bool(await cast(Any, redis.eval(_REHASH, 1, _key(record.id), *arguments)))

    async def note_used(self, used: Mapping[str, datetime]) -> None:
        """Keeps when keys were last used, by their ids; an earlier time changes nothing.

        Raises:
            Unavailable: the store can't be reached.
        """
        if used:
            scores = {key_id: when.timestamp() for key_id, when in used.items()}
            async with self.use() as redis:
                await redis.zadd(names.REDIS_KEYS_USED, scores, gt=True)

    async def last_used(self, key_ids: Sequence[str]) -> dict[str, datetime]:
        """When keys were last used, to some seconds; those that never were are not there.

        Raises:
            Unavailable: the store can't be reached.
        """
        if not key_ids:
            return {}
        async with self.use() as redis:
            scores = await redis.zmscore(names.REDIS_KEYS_USED, list(key_ids))
        return {
            key_id: datetime.fromtimestamp(float(score), UTC)
            for key_id, score in zip(key_ids, scores, strict=True)
            if score is not None
        }

    async def get_tenant(self, name: str) -> Tenant | None:
        """What is set for a tenant; None where nothing is.

        Raises:
            Unavailable: the store can't be reached.
        """
        async with self.use() as redis:
            pipeline = redis.pipeline(transaction=False)
            pipeline.hget(names.REDIS_TENANTS, name)
            pipeline.hget(names.REDIS_ALLOWANCES, name)
            rate, allowance = cast(Sequence[str | None], await pipeline.execute())
        return _tenant(name, rate, allowance)

    async def set_tenant(self, tenant: Tenant) -> None:
        """Sets the limits of a tenant; every gateway keeps to them within 30 seconds.

        Raises:
            InvalidArgument: its name makes no sense.
            Unavailable: the store can't be reached.
        """
        check_name("tenant", tenant.name)
        async with self.use() as redis:
            rate = str(tenant.rate) if tenant.rate else None
            allowance = tenant.allowance.to_text() if tenant.allowance else None
            details = {"rate": rate} | ({"allowance": allowance} if allowance else {})
            await self._log(redis, "set-tenant", tenant.name, details)
            for key, value in ((names.REDIS_TENANTS, rate), (names.REDIS_ALLOWANCES, allowance)):
                if value is None:
                    await redis.hdel(key, tenant.name)
                else:
                    await redis.hset(key, tenant.name, value)

    async def list_tenants(self) -> Sequence[Tenant]:
        """The tenants that have limits of their own, by name.

        Raises:
            Unavailable: the store can't be reached.
        """
        async with self.use() as redis:
            rates = cast(_Fields, await redis.hgetall(names.REDIS_TENANTS))
            allowances = cast(_Fields, await redis.hgetall(names.REDIS_ALLOWANCES))
        found = [
            _tenant(name, rates.get(name), allowances.get(name))
            for name in sorted(rates.keys() | allowances.keys())
        ]
        return [each for each in found if each]

    async def acts(self, count: int) -> Sequence[Act]:
        """The latest acts, the latest first.

        Raises:
            Unavailable: the store can't be reached.
        """
        async with self.use() as redis:
            entries = cast(
                Iterable[tuple[str, _Fields]],
                await redis.xrevrange(names.REDIS_KEYS_AUDIT, count=count),
            )
        return [
            Act(
                when=datetime.fromtimestamp(int(entry_id.partition("-")[0]) / 1000, UTC),
                actor=fields["actor"],
                action=fields["action"],
                subject=fields["subject"],
                details=json.loads(fields["details"]),
            )
            for entry_id, fields in entries
        ]

    async def note(self, action: str, subject: str, details: Mapping[str, Any]) -> None:
        """Writes an act down that was done elsewhere, such as to the hashing keys.

        Raises:
            Unavailable: the store can't be reached.
        """
        async with self.use() as redis:
            await self._log(redis, action, subject, details)

    async def ping(self) -> None:
        """Asks whether the store is there, in an outage too.

        Raises:
            Unavailable: it can't be reached.
        """
        async with self.use(in_outage=True) as redis:
            await redis.ping()

    async def _make(
        self, hashing_key: HashingKey, grant: Grant, action: str, replaces: str | None
    ) -> tuple[ApiKey, KeyRecord]:
        key = ApiKey.generate()
        record = KeyRecord(
            id=key.id,
            hash=hashing_key.hash(key),
            hashing_key=hashing_key.id,
            grant=grant,
            created_at=datetime.now(UTC),
            replaces=replaces,
        )
        fields = record.to_fields()
        told = {name: value for name, value in fields.items() if name != "hash"}
        async with self.use() as redis:
            await self._log(redis, action, key.id, told)
            # The index comes first: an id without a record is passed over, a key that no list
            # shows could not be found to be revoked.
            await redis.zadd(names.REDIS_KEYS, {key.id: record.created_at.timestamp()})
            await redis.hset(_key(key.id), mapping=cast(dict[Any, Any], fields))
        return key, record

    async def _log(
        self, redis: Redis, action: str, subject: str, details: Mapping[str, Any]
    ) -> None:
        fields = {
            "actor": self._actor,
            "action": action,
            "subject": subject,
            "details": json.dumps(details, sort_keys=True),
        }
        await redis.xadd(
            names.REDIS_KEYS_AUDIT, cast(Any, fields), maxlen=_MOST_ACTS, approximate=True
        )


def _tenant(name: str, rate: str | None, allowance: str | None) -> Tenant | None:
    if rate is None and allowance is None:
        return None
    return Tenant(
        name,
        Rate.parse(rate, "rate") if rate else None,
        Allowance.from_text(allowance) if allowance else NO_ALLOWANCE,
    )


def _key(key_id: str) -> str:
    # The braces make the id the hash tag: whatever belongs to one key lies in one slot.
    return f"{names.REDIS_KEY}:{{{key_id}}}"
