"""API keys: from what a caller presents to the caller that it proves to be."""

import hashlib
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mesh_gateway.caller import Caller
from mesh_gateway.key_upkeep import KeyUpkeep
from mesh_gateway.record_cache import RecordCache
from meshkit.errors import StartError, Unauthenticated, Unavailable
from meshkit.hashing_keys import HashingKey, HashingKeys
from meshkit.key_records import KeyRecord
from meshkit.keys import ApiKey

_RELOAD_EVERY_S: Final = 1.0
_MOST_PROOFS: Final = 10_000
_log = logging.getLogger(__name__)


class HashingKeyFile:
    """The hashing keys as their file has them, read again when a key names one that is not known.

    Raises:
        StartError: the file can't be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys = HashingKeys.load(path)
        self._read_at_s = time.monotonic()

    @property
    def current(self) -> HashingKey:
        """The one that keys are made with."""
        return self._keys.current

    def find(self, hashing_key_id: str) -> HashingKey | None:
        """The one with this id, if need be after another look at the file."""
        found = self._keys.find(hashing_key_id)
        if found is None and time.monotonic() - self._read_at_s > _RELOAD_EVERY_S:
            self._reload()
            found = self._keys.find(hashing_key_id)
        return found

    def _reload(self) -> None:
        self._read_at_s = time.monotonic()
        try:
            self._keys = HashingKeys.load(self._path)
        except StartError as error:  # those that are known go on
            _log.error("can't read the hashing keys again: %s", error)


@dataclass(frozen=True, slots=True)
class _Proof:
    """That a key is the one of a record, which need not be shown again for the same record."""

    record: KeyRecord
    caller: Caller


class ApiKeys:
    """Checks API keys.

    Args:
        records: where the records of keys are looked up.
        hashing_keys: the ones that keys were made with.
        upkeep: told which keys are used, and which should be hashed anew.
    """

    def __init__(
        self, records: RecordCache[KeyRecord], hashing_keys: HashingKeyFile, upkeep: KeyUpkeep
    ) -> None:
        self._records = records
        self._hashing_keys = hashing_keys
        self._upkeep = upkeep
        self._proofs: OrderedDict[bytes, _Proof] = OrderedDict()

    def proved(self, presented: str) -> Caller | None:
        """The caller of a key that was proved before, whose record is fresh; else None.

        Raises:
            Unauthenticated: it is revoked, or has expired.
        """
        proof = self._proofs.get(_digest(presented))
        if proof is None:
            return None
        known = self._records.fresh(proof.record.id)
        if known is None or known.record is not proof.record:
            return None
        self._check(proof.record)
        return proof.caller

    async def caller(self, presented: str) -> Caller:
        """The caller that a key proves.

        Raises:
            Unauthenticated: it is malformed, unknown, revoked, or has expired.
            Unavailable: the key store can't be reached and the key is not remembered, or the
                hashing key that it was made with is not here.
        """
        digest = _digest(presented)
        proof = self._proofs.get(digest)
        key_id = proof.record.id if proof else ApiKey.parse(presented).id
        record = await self._records.get(key_id)
        if proof is None or proof.record is not record:
            proof = self._prove(presented, record)
            self._remember(digest, proof)
        self._check(proof.record)
        return proof.caller

    def _check(self, record: KeyRecord) -> None:
        """Refuses a key that was good and is no more."""
        if record.revoked_at is not None:
            raise Unauthenticated(
                f"the API key {record.id} was revoked; ask for a new one", reason="KEY_REVOKED"
            )
        now, grant = datetime.now(UTC), record.grant
        if grant.expires_at is not None and grant.expires_at <= now:
            raise Unauthenticated(
                f"the API key {record.id} expired at {grant.expires_at:%F %T} UTC; ask for a new "
                "one",
                reason="KEY_EXPIRED",
            )
        self._upkeep.used(record.id, now)

    def _prove(self, presented: str, record: KeyRecord | None) -> _Proof:
        key = ApiKey.parse(presented)
        if record is None or not self._matches(key, record):
            raise Unauthenticated(
                "the API key is not known; check that it belongs to this mesh "
                "(`mesh keys list` shows the ids of all keys)",
                reason="KEY_UNKNOWN",
            )
        grant = record.grant
        caller = Caller(
            record.id,
            grant.tenant,
            grant.scopes,
            grant.rate,
            grant.max_concurrent,
            grant.allowance,
        )
        return _Proof(record, caller)

    def _remember(self, digest: bytes, proof: _Proof) -> None:
        self._proofs[digest] = proof
        self._proofs.move_to_end(digest)
        if len(self._proofs) > _MOST_PROOFS:
            self._proofs.popitem(last=False)

    def _matches(self, key: ApiKey, record: KeyRecord) -> bool:
        hashing_key = self._hashing_keys.find(record.hashing_key)
        if hashing_key is None:
            raise Unavailable(
                f"key {record.id} was made with the hashing key {record.hashing_key}, which this "
                "gateway does not have; give it the same MESH_HASHING_KEY_PATH, or make a new key",
                reason="HASHING_KEY_DIFFERS",
            )
        matches = hashing_key.matches(key, record.hash)
        if matches and hashing_key is not self._hashing_keys.current:
            self._upkeep.rehash(record, self._hashing_keys.current, key)
        return matches


def _digest(presented: str) -> bytes:
    """What a key is remembered by, so that no key is."""
    return hashlib.sha256(presented.encode()).digest()
