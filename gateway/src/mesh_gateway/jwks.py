"""The public keys that tokens are checked with: a JWK set (RFC 7517), at a URL or in a file.

What was read once stays in use when it can't be read again. A token that names a key that is not
known makes the set be read anew, but not more often than every few seconds, whoever sends what.
"""

import asyncio
import json
import logging
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from jwt import PyJWK, PyJWKSet
from jwt.exceptions import PyJWTError

from meshkit import names, telemetry
from meshkit.errors import Unavailable

READ_EVERY_S: Final = 300.0
"""A set at a URL is read again after this long."""
LOOK_EVERY_S: Final = 5.0
"""How often a file is looked at, and how often, at most, an unknown key makes a set be read."""
_TIMEOUT_S: Final = 5.0
_MOST_BYTES: Final = 1024 * 1024
_log = logging.getLogger(__name__)
_reads = telemetry.counter(names.JWKS_READS, "{read}", "Reads of the JWK set, by outcome.")


class KeySet:
    """The keys by their ids. Use `run` in the background to keep them current.

    Args:
        source: an `http://` or `https://` URL, or the path of a file.
        read: reads the source; blocks. For tests.
    """

    def __init__(self, source: str, read: Callable[[], bytes] | None = None) -> None:
        self._file = None if urlsplit(source).scheme in {"http", "https"} else Path(source)
        self._source = source
        self._read = read or (self._file.read_bytes if self._file else self._download)
        self._keys: dict[str | None, PyJWK] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._read_at_s = float("-inf")
        self._changed_ns = -1

    async def find(self, key_id: str | None) -> PyJWK | None:
        """The key with this id; without an id the only key, where there is only one.

        Raises:
            Unavailable: the set could not be read so far.
        """
        if self._keys is None or (self._known(key_id) is None and self._age_s() >= LOOK_EVERY_S):
            await self._refresh()
        if self._keys is None:
            raise Unavailable(
                "the keys that tokens are checked with can't be read, so no token can be checked; "
                "try again in a moment",
                reason="JWKS_UNAVAILABLE",
                retry_delay_s=1.0,
            )
        return self._known(key_id)

    async def run(self) -> None:
        """Keeps the keys current until cancelled."""
        while True:
            stale = self._file_changed() if self._file else self._age_s() >= READ_EVERY_S
            if stale or self._keys is None:
                await self._refresh()
            await asyncio.sleep(LOOK_EVERY_S)

    def _known(self, key_id: str | None) -> PyJWK | None:
        keys = self._keys or {}
        if key_id is None and len(keys) == 1:
            return next(iter(keys.values()))
        return keys.get(key_id)

    def _age_s(self) -> float:
        return time.monotonic() - self._read_at_s

    def _file_changed(self) -> bool:
        try:
            changed_ns = self._file.stat().st_mtime_ns if self._file else 0
        except OSError:
            return True
        return changed_ns != self._changed_ns

    async def _refresh(self) -> None:
        """Reads the set, once for all that want it now."""
        if self._reading is None:
            if self._age_s() < LOOK_EVERY_S and self._keys is None:
                return  # it was just tried
            self._reading = asyncio.create_task(self._read_set())
            self._reading.add_done_callback(self._end_reading)
        # The reading belongs to all that wait for it: one that leaves must not end it.
        await asyncio.shield(self._reading)

    def _end_reading(self, _: asyncio.Task[None]) -> None:
        self._reading = None

    async def _read_set(self) -> None:
        self._read_at_s = time.monotonic()
        try:
            if self._file:
                self._changed_ns = self._file.stat().st_mtime_ns
            content = await asyncio.to_thread(self._read)
            keys = PyJWKSet.from_dict(json.loads(content)).keys
        except (OSError, ValueError, PyJWTError, AttributeError, TypeError) as error:
            _reads.add(1, {names.READ_OUTCOME: "failed"})
            _log.error("can't read the JWK set %s: %s", self._source, error)
            return
        _reads.add(1, {names.READ_OUTCOME: "read"})
        self._keys = {key.key_id: key for key in keys if key.public_key_use != "enc"}

    def _download(self) -> bytes:
        request = urllib.request.Request(self._source, headers={"accept": "application/json"})  # noqa: S310  # the scheme is checked
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310  # the same
            content: bytes = response.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ValueError(f"it has over {_MOST_BYTES} bytes")
        return content


Find = Callable[[str | None], Awaitable[PyJWK | None]]
