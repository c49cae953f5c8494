"""Whole answers by exactly what was asked, in Redis: of a tenant, and never of another one."""

import hashlib
import time
from collections.abc import Sequence
from importlib import resources
from typing import Final, cast

import msgspec

from meshkit import names
from meshkit.redis_client import RedisClient

_SCRIPT: Final = resources.files("mesh_gateway.openai").joinpath("keep.lua").read_text("utf-8")
_MAX_CONNECTIONS: Final = 8


class Entry(msgspec.Struct, frozen=True):
    """An answer that is kept.

    Attributes:
        model: what answered.
        kept_at: when, in seconds since 1970.
        responses: the messages of the answer, each choice in one.
    """

    model: str
    kept_at: float
    responses: list[bytes]

    @property
    def age_s(self) -> int:
        """Whole seconds since it was kept."""
        return max(0, int(time.time() - self.kept_at))


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Entry)


def digest(parts: Sequence[bytes]) -> str:
    """The name of what was asked, by everything that its answer depends on."""
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8))
        found.update(part)
    return found.hexdigest()


class PromptCache(RedisClient):
    """Keeps answers. Use it as an async context manager.

    A tenant's oldest answers make room for its new ones: it has at most `most_entries` of
    `most_bytes` each.

    Args:
        url: of the Redis, `redis://`, `rediss://` or `unix://`.
        timeout_s: most seconds of one trip.
        ttl_s: seconds that an answer is kept.
        most_entries: of a tenant.
        most_bytes: of an answer; a larger one is not kept.
    """

    def __init__(
        self, url: str, *, timeout_s: float, ttl_s: int, most_entries: int, most_bytes: int
    ) -> None:
        super().__init__(
            url,
            timeout_s=timeout_s,
            max_connections=_MAX_CONNECTIONS,
            unreachable="the Redis of the prompt cache can't be reached",
            reason="PROMPT_CACHE_UNAVAILABLE",
        )
        self._ttl_s = ttl_s
        self._most_entries = most_entries
        self._most_bytes = most_bytes

    async def find(self, tenant: str, name: str) -> Entry | None:
        """What is kept of a tenant under a name.

        Raises:
            Unavailable: Redis can't be reached.
        """
        async with self.use() as redis:
            content = cast(str | None, await redis.get(_key(tenant, name)))
        return None if content is None else _decoder.decode(content)

    async def keep(self, tenant: str, name: str, entry: Entry) -> None:
        """Keeps an answer, unless it is too large.

        Raises:
            Unavailable: Redis can't be reached.
        """
        content = _encoder.encode(entry)
        if len(content) > self._most_bytes:
            return
        arguments = (name, self._ttl_s, self._most_entries, content)
        keys = (_key(tenant, name), _index(tenant))
        async with self.use() as redis:
            await redis.eval(_SCRIPT, len(keys), *keys, *arguments)


def _index(tenant: str) -> str:
    # The tenant is the hash tag, so that all of it lies in one slot of a Redis Cluster.
    return f"{names.REDIS_PROMPTS}:{{{tenant}}}"


def _key(tenant: str, name: str) -> str:
    return f"{_index(tenant)}:{name}"
