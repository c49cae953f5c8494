"""API keys: their form, their keyed hash, and the store that holds them.

A key is shown once, when it is made. Redis holds a keyed hash of it, so that whoever reads the
store can neither use a key nor, without the hashing key, test a guess.
"""

import asyncio
import contextlib
import functools
import hashlib
import hmac
import os
import re
import secrets
import string
import tempfile
import zlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
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

SCOPES: Final = frozenset({"classifier"})
"""What a key may be allowed to call: the services behind the gateway."""

_MARK: Final = "mesh"
_ID_ALPHABET: Final = string.ascii_lowercase + string.digits
_ALPHABET: Final = string.ascii_letters + string.digits
_ID_LENGTH: Final = 12
_SECRET_LENGTH: Final = 32  # 190 bits
_CHECKSUM_LENGTH: Final = 6
_FORM: Final = re.compile(
    rf"{_MARK}_([a-z0-9]{{{_ID_LENGTH}}})_"
    rf"([A-Za-z0-9]{{{_SECRET_LENGTH}}})([A-Za-z0-9]{{{_CHECKSUM_LENGTH}}})"
)
_HASHING_KEY_FORM: Final = re.compile(r"[0-9a-f]{64}")
_MAX_CONNECTIONS: Final = 32
_MAX_NAME_LENGTH: Final = 128
_Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as its owner holds it: `mesh_<id>_<secret and checksum>`.

    The id is public and may stand in logs. The checksum lets a mistyped key be refused without
    asking anyone.
    """

    id: str
    text: str = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """A new key."""
        key_id = "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))
        secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
        unchecked = f"{_MARK}_{key_id}_{secret}"
        return cls(key_id, unchecked + _checksum(unchecked))

    @classmethod
    def parse(cls, text: str) -> Self:
        """The key that a caller presents.

        Raises:
            Unauthenticated: the text has not the form of a key, or its checksum is wrong.
        """
        match = _FORM.fullmatch(text)
        if match is None or _checksum(text[:-_CHECKSUM_LENGTH]) != match[3]:
            raise Unauthenticated(
                "the API key is malformed; copy it whole, from mesh_ to its last character",
                reason="KEY_MALFORMED",
            )
        return cls(match[1], text)


def _checksum(text: str) -> str:
    number = zlib.crc32(text.encode())
    digits = ""
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What the store knows of a key.

    Attributes:
        id: the key's public id.
        hash: its keyed hash.
        hashing_key: id of the hashing key that made the hash.
        name: what the key is for, in its owner's words.
        tenant: whom the calls made with it belong to.
        scopes: the services it may call.
        created_at: when it was made.
        revoked_at: since when it is refused; None while it is valid.
    """

    id: str
    hash: bytes = field(repr=False)
    hashing_key: str
    name: str
    tenant: str
    scopes: frozenset[str]
    created_at: datetime
    revoked_at: datetime | None = None

    def to_fields(self) -> dict[str, str]:
        """The record as a Redis hash."""
        fields = {
            "hash": self.hash.hex(),
            "hashing_key": self.hashing_key,
            "name": self.name,
            "tenant": self.tenant,
            "scopes": " ".join(sorted(self.scopes)),
            "created_at": self.created_at.isoformat(),
        }
        if self.revoked_at:
            fields["revoked_at"] = self.revoked_at.isoformat()
        return fields

    @classmethod
    def from_fields(cls, key_id: str, fields: Mapping[str, str]) -> Self:
        """The inverse of `to_fields`.

        Raises:
            Internal: a field is missing or can't be read.
        """
        revoked_at = fields.get("revoked_at")
        try:
            return cls(
                id=key_id,
                hash=bytes.fromhex(fields["hash"]),
                hashing_key=fields["hashing_key"],
                name=fields["name"],
                tenant=fields["tenant"],
                scopes=frozenset(fields["scopes"].split()),
                created_at=datetime.fromisoformat(fields["created_at"]),
                revoked_at=datetime.fromisoformat(revoked_at) if revoked_at else None,
            )
        except (KeyError, ValueError) as error:
            raise Internal(
                f"the record of key {key_id} in the key store is damaged; make a new key",
                reason="KEY_RECORD_DAMAGED",
            ) from error


@dataclass(frozen=True)
class HashingKey:
    """The secret that API keys are hashed with (HMAC-SHA-256)."""

    secret: bytes = field(repr=False)

    @functools.cached_property
    def id(self) -> str:
        """A public id, which a record keeps so that the hashing key can change later."""
        return hashlib.sha256(b"mesh hashing key:" + self.secret).hexdigest()[:16]

    def hash(self, key: ApiKey) -> bytes:
        """The keyed hash of an API key."""
        return hmac.digest(self.secret, key.text.encode(), "sha256")

    def matches(self, key: ApiKey, record: KeyRecord) -> bool:
        """Whether `key` is the key of `record`; takes the same time whatever the answer.

        Raises:
            Unavailable: the record was hashed with another hashing key, so nobody can say.
        """
        if record.hashing_key != self.id:
            raise Unavailable(
                f"key {record.id} was made with the hashing key {record.hashing_key} and this "
                f"process has {self.id}; give it the same hashing key, or make a new API key",
                reason="HASHING_KEY_DIFFERS",
            )
        return hmac.compare_digest(self.hash(key), record.hash)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads the hashing key.

        Raises:
            StartError: the file is missing, can't be read, or holds something else.
        """
        try:
            text = path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            raise StartError(
                f"there is no hashing key at {path}; `mesh keys create` makes one, or set "
                "MESH_HASHING_KEY_PATH to the one that the API keys were made with"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise StartError(f"can't read the hashing key at {path}: {error}") from error
        if not _HASHING_KEY_FORM.fullmatch(text):
            raise StartError(f"{path} is not a hashing key: it should hold 64 hexadecimal digits")
        return cls(bytes.fromhex(text))

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """Reads the hashing key, or makes one where there is none.

        Raises:
            StartError: the file can't be read or written.
        """
        if not path.exists():
            try:
                _write_secret(path, secrets.token_hex(32))
            except OSError as error:
                raise StartError(f"can't write a hashing key to {path}: {error}") from error
        return cls.load(path)


def _write_secret(path: Path, text: str) -> None:
    """Puts a file that only its owner reads in place whole, unless another process was faster."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, written = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{text}\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(written, path)
    finally:
        Path(written).unlink()


class KeyStore:
    """The records of all keys, in Redis. Use it as an async context manager.

    Every call is bounded in time; a store that can't be reached is `Unavailable`, never a refusal.

    Args:
        url: of the Redis, `redis://`, `rediss://` or `unix://`.
        timeout_s: most seconds of one call.
    """

    def __init__(self, url: str, *, timeout_s: float = 1.0) -> None:
        self._timeout_s = timeout_s
        pool = BlockingConnectionPool.from_url(
            url,
            decode_responses=True,
            max_connections=_MAX_CONNECTIONS,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            # A connection that Redis closed while it was idle is noticed only by using it.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        )
        self._redis = Redis(connection_pool=pool)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._redis.aclose(close_connection_pool=True)

    async def create(
        self, hashing_key: HashingKey, *, name: str, tenant: str, scopes: Iterable[str]
    ) -> tuple[ApiKey, KeyRecord]:
        """Makes a key and stores its record; the key itself is nowhere but in the answer.

        Raises:
            InvalidArgument: the name, the tenant or a scope is not acceptable.
            Unavailable: the store can't be reached.
        """
        granted = frozenset(scopes)
        _check_new(name, tenant, granted)
        key = ApiKey.generate()
        record = KeyRecord(
            id=key.id,
            hash=hashing_key.hash(key),
            hashing_key=hashing_key.id,
            name=name,
            tenant=tenant,
            scopes=granted,
            created_at=datetime.now(UTC),
        )
        async with self._reaching():
            # The index comes first: an id without a record is passed over, a key that no list
            # shows could not be found to be revoked.
            await self._redis.zadd(names.REDIS_KEYS, {key.id: record.created_at.timestamp()})
            fields: dict[Any, Any] = {**record.to_fields()}
            await self._redis.hset(_redis_key(key.id), mapping=fields)
        return key, record

    async def get(self, key_id: str) -> KeyRecord | None:
        """The record of a key; None where there is none.

        Raises:
            Unavailable: the store can't be reached.
        """
        async with self._reaching():
            fields = cast(_Fields, await self._redis.hgetall(_redis_key(key_id)))
        return KeyRecord.from_fields(key_id, fields) if fields else None

    async def list(self) -> list[KeyRecord]:
        """Every record, the oldest first, the revoked ones too.

        Raises:
            Unavailable: the store can't be reached.
        """
        async with self._reaching():
            ids = cast(Sequence[str], await self._redis.zrange(names.REDIS_KEYS, 0, -1))
            pipeline = self._redis.pipeline(transaction=False)
            for key_id in ids:
                pipeline.hgetall(_redis_key(key_id))
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
        record = await self.get(key_id)
        if record is None:
            raise NotFound(f"there is no key {key_id!r}; `mesh keys list` shows all")
        if record.revoked_at is not None:
            return record
        now = datetime.now(UTC)
        async with self._reaching():
            await self._redis.hsetnx(_redis_key(key_id), "revoked_at", now.isoformat())
        return replace(record, revoked_at=now)

    async def ping(self) -> None:
        """Asks whether the store is there.

        Raises:
            Unavailable: it can't be reached.
        """
        async with self._reaching():
            await self._redis.ping()

    @contextlib.asynccontextmanager
    async def _reaching(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except (RedisError, OSError) as error:
            raise Unavailable(
                "the key store can't be reached, so no key can be checked; try again in a moment",
                reason="KEY_STORE_UNAVAILABLE",
                retry_delay_s=1.0,
            ) from error


def _redis_key(key_id: str) -> str:
    # The braces make the id the hash tag: whatever belongs to one key lies in one slot.
    return f"{names.REDIS_KEY}:{{{key_id}}}"


def _check_new(name: str, tenant: str, scopes: frozenset[str]) -> None:
    for label, value in (("name", name), ("tenant", tenant)):
        if not (value.isprintable() and 0 < len(value.strip()) <= _MAX_NAME_LENGTH):
            raise InvalidArgument.of_field(
                label, f"must be 1 to {_MAX_NAME_LENGTH} printable characters, not {value!r}"
            )
    if not scopes:
        raise InvalidArgument.of_field("scopes", f"is empty; choose from {_known_scopes()}")
    if unknown := scopes - SCOPES:
        raise InvalidArgument.of_field(
            "scopes", f"holds {', '.join(sorted(unknown))}; choose from {_known_scopes()}"
        )


def _known_scopes() -> str:
    return ", ".join(sorted(SCOPES))
