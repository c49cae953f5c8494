"""The API key that `mesh up` shows in its curl line.

It is kept beside the hashing key, readable by its owner alone, so that the line of yesterday works
today. That gives nothing away: whoever reads that folder has the hashing key, and with it and the
Redis of the mesh could make a key anyway. Keys of `mesh keys create` are shown once and kept
nowhere.
"""

import asyncio
import os
from pathlib import Path

from mesh_cli.author import author
from mesh_cli.settings import Site
from meshkit.errors import Unauthenticated
from meshkit.hashing_keys import HashingKeys
from meshkit.key_records import Grant
from meshkit.key_store import KeyStore
from meshkit.keys import ApiKey
from meshkit.scopes import SERVICES

_GRANT = Grant("mesh up", "local", frozenset(SERVICES))


def ensure(site: Site) -> str:
    """The key of the last `mesh up` where it is still valid, else a new one.

    Raises:
        Unavailable: the Redis of the mesh can't be reached.
        StartError: the hashing key can't be read.
    """
    return asyncio.run(_ensure(site))


async def _ensure(site: Site) -> str:
    hashing_keys = HashingKeys.load_or_create(site.hashing_key)
    path = site.state / "secrets" / "development.key"
    async with KeyStore(site.process_environment()["MESH_REDIS_URL"], actor=author()) as store:
        kept = _read(path)
        if kept and await _is_valid(store, hashing_keys, kept):
            return kept.text
        key, _ = await store.create(hashing_keys.current, _GRANT)
    _write(path, key.text)
    return key.text


async def _is_valid(store: KeyStore, hashing_keys: HashingKeys, key: ApiKey) -> bool:
    record = await store.get(key.id)
    if record is None or record.revoked_at or record.grant.expires_at:
        return False
    hashing_key = hashing_keys.find(record.hashing_key)
    if hashing_key is None or not record.grant.scopes >= _GRANT.scopes:
        return False
    return hashing_key.matches(key, record.hash)


def _read(path: Path) -> ApiKey | None:
    try:
        return ApiKey.parse(path.read_text(encoding="ascii").strip())
    except (FileNotFoundError, UnicodeDecodeError, Unauthenticated):  # absent or damaged
        return None


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{text}\n")
