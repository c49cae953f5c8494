"""The API key that `mesh up` shows in its curl line.

It is kept beside the hashing key, readable by its owner alone, so that the line of yesterday works
today. That gives nothing away: whoever reads that folder has the hashing key, and with it and the
Redis of the mesh could make a key anyway. Keys of `mesh keys create` are shown once and kept
nowhere.
"""

import asyncio
import os
from pathlib import Path

from mesh_cli.settings import Site
from meshkit.errors import Unauthenticated
from meshkit.keys import SCOPES, ApiKey, HashingKey, KeyStore

_NAME, _TENANT = "mesh up", "local"


def ensure(site: Site) -> str:
    """The key of the last `mesh up` where it is still valid, else a new one.

    Raises:
        Unavailable: the Redis of the mesh can't be reached.
        StartError: the hashing key can't be read.
    """
    return asyncio.run(_ensure(site))


async def _ensure(site: Site) -> str:
    hashing_key = HashingKey.load_or_create(site.hashing_key)
    path = site.state / "secrets" / "development.key"
    async with KeyStore(site.process_environment()["MESH_REDIS_URL"]) as store:
        kept = _read(path)
        if kept and await _is_valid(store, hashing_key, kept):
            return kept.text
        key, _ = await store.create(hashing_key, name=_NAME, tenant=_TENANT, scopes=SCOPES)
    _write(path, key.text)
    return key.text


async def _is_valid(store: KeyStore, hashing_key: HashingKey, key: ApiKey) -> bool:
    record = await store.get(key.id)
    if record is None or record.revoked_at or record.hashing_key != hashing_key.id:
        return False
    return record.scopes >= SCOPES and hashing_key.matches(key, record)


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
