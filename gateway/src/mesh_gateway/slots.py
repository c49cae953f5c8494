"""Concurrency limits that hold over all gateways: leased slots in Redis."""

import asyncio
import hashlib
import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any, Final, Self, TypeVar, cast

from redis.exceptions import NoScriptError

from mesh_gateway.buckets import CONCURRENCY
from meshkit.errors import QuotaExceeded, QuotaViolation, Unavailable
from meshkit.redis_client import Outage, RedisClient

T = TypeVar("T")

_SCRIPT: Final = resources.files("mesh_gateway").joinpath("slots.lua").read_text("utf-8")
_SHA: Final = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
_MAX_CONNECTIONS: Final = 16
_RETRY_S: Final = 1.0
_log = logging.getLogger(__name__)


class Slots:
    """Holds slots. Use it as an async context manager.

    While Redis can't be reached each gateway lets its share of the requests through by itself.

    Args:
        url: of the Redis.
        timeout_s: most seconds of one trip.
        replicas: how many gateways there are.
        outage: shared with the other clients of this Redis.
    """

    def __init__(
        self, url: str, *, timeout_s: float, replicas: int, outage: Outage | None = None
    ) -> None:
        self._client = RedisClient(
            url,
            timeout_s=timeout_s,
            max_connections=_MAX_CONNECTIONS,
            unreachable="the Redis that holds the limits can't be reached",
            reason="LIMIT_STORE_UNAVAILABLE",
            outage=outage,
        )
        self._replicas = replicas
        self._held: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.__aexit__()

    @asynccontextmanager
    async def hold(self, name: str, subject: str, most: int, lease_s: float) -> AsyncIterator[None]:
        """Holds a slot inside.

        Args:
            name: of the set of slots, in Redis.
            subject: whose they are, such as `key:a1b2c3`.
            most: how many there are.
            lease_s: seconds after which the slot comes back by itself, if this process dies.

        Raises:
            QuotaExceeded: all are held.
        """
        slot = secrets.token_hex(8)
        leased = await self._lease_whole(name, subject, most, lease_s, slot)
        self._held[name] += 1
        try:
            yield
        finally:
            self._held[name] -= 1
            if not self._held[name]:
                del self._held[name]
            if leased:
                # Nobody waits for it: the response is on its way.
                self._in_background(self._release(name, slot))

    async def _lease_whole(
        self, name: str, subject: str, most: int, lease_s: float, slot: str
    ) -> bool:
        """Takes a slot in a trip that ends even if its caller leaves, and then gives it back.

        Only the end of the trip says whether Redis has counted the slot.
        """
        trip = self._in_background(self._lease(name, subject, most, lease_s, slot))
        try:
            return await asyncio.shield(trip)
        except asyncio.CancelledError:
            self._in_background(self._undo(trip, name, slot))
            raise

    async def _undo(self, trip: asyncio.Task[bool], name: str, slot: str) -> None:
        (leased,) = await asyncio.gather(trip, return_exceptions=True)
        if leased is True:
            await self._release(name, slot)

    def _in_background(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _lease(self, name: str, subject: str, most: int, lease_s: float, slot: str) -> bool:
        """Takes a slot; whether Redis knows of it."""
        arguments = (most, round(lease_s * 1000), slot)
        try:
            async with self._client.use() as redis:
                try:
                    taken = await cast(Any, redis.evalsha(_SHA, 1, name, *arguments))
                except NoScriptError:
                    taken = await cast(Any, redis.eval(_SCRIPT, 1, name, *arguments))
        except Unavailable:
            if self._held[name] < max(1, most // self._replicas):
                return False
            taken = 0
        if not taken:
            described = f"{most} requests in flight"
            raise QuotaExceeded(
                f"the limit is reached: {subject} may have {described}; try again when one of them "
                "has ended",
                quotas=[QuotaViolation(CONCURRENCY, subject, described)],
                retry_delay_s=_RETRY_S,
            )
        return True

    async def _release(self, name: str, slot: str) -> None:
        try:
            # Nobody waits for this, and a slot that is not given back is nobody's for its lease.
            async with self._client.use(in_outage=True) as redis:
                await redis.zrem(name, slot)
        except Unavailable:
            _log.warning("a slot of %s comes back when its lease ends", name)
