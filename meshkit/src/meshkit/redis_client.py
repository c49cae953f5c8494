"""How processes of the mesh reach a Redis: bounded in time, and one error where they can't."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Self

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from meshkit.errors import Unavailable


class RedisClient:
    """A pool of connections. Use it as an async context manager.

    Args:
        url: of the Redis, `redis://`, `rediss://` or `unix://`.
        timeout_s: most seconds of one use.
        max_connections: most connections; who finds none waits for one within its time.
        unreachable: what to tell where Redis can't be reached.
        reason: the reason of that error.
    """

    def __init__(
        self, url: str, *, timeout_s: float, max_connections: int, unreachable: str, reason: str
    ) -> None:
        self._timeout_s = timeout_s
        self._unreachable = unreachable
        self._reason = reason
        pool = BlockingConnectionPool.from_url(
            url,
            decode_responses=True,
            max_connections=max_connections,
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

    @contextlib.asynccontextmanager
    async def use(self) -> AsyncIterator[Redis]:
        """The client, for as long as a use may take.

        Raises:
            Unavailable: Redis can't be reached, or did not answer in time.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                yield self._redis
        except (RedisError, OSError) as error:
            raise Unavailable(self._unreachable, reason=self._reason, retry_delay_s=1.0) from error
