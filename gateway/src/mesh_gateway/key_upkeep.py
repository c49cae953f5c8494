"""What is written to the key store because keys are used: in the background, many at once."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Protocol

from meshkit.errors import Unavailable
from meshkit.hashing_keys import HashingKey
from meshkit.key_records import KeyRecord
from meshkit.keys import ApiKey

WRITE_EVERY_S: Final = 5.0
"""How often the store is told when keys were last used."""
_MOST: Final = 10_000


class Store(Protocol):
    """What is needed of the key store."""

    async def note_used(self, used: Mapping[str, datetime]) -> None:
        """Keeps when keys were last used."""

    async def rehash(self, record: KeyRecord, hashing_key: HashingKey, key: ApiKey) -> bool:
        """Hashes a key with another hashing key."""


class KeyUpkeep:
    """Gathers the last use of each key, and keys that should be hashed anew.

    Both are bounded: what finds no place is told of at its next use.

    Args:
        store: where it is written.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._used: dict[str, datetime] = {}
        self._rehash: dict[str, tuple[KeyRecord, HashingKey, ApiKey]] = {}

    def used(self, key_id: str, when: datetime) -> None:
        """Notes that a key was used."""
        if key_id in self._used or len(self._used) < _MOST:
            self._used[key_id] = when

    def rehash(self, record: KeyRecord, hashing_key: HashingKey, key: ApiKey) -> None:
        """Notes that a key is made with an older hashing key than the current one."""
        if len(self._rehash) < _MOST:
            self._rehash[key.id] = record, hashing_key, key

    async def run(self) -> None:
        """Writes until cancelled, and then what is left."""
        try:
            while True:
                await asyncio.sleep(WRITE_EVERY_S)
                await self._write()
        finally:
            await self._write()

    async def _write(self) -> None:
        used, self._used = self._used, {}
        rehash, self._rehash = self._rehash, {}
        try:
            await self._store.note_used(used)
            for record, hashing_key, key in rehash.values():
                await self._store.rehash(record, hashing_key, key)
        except Unavailable:  # the watch of the key store says so
            self._used = used | self._used
