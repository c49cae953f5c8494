"""How processes of the mesh reach a Redis: bounded in time, and one error where they can't."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, Self

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError

from meshkit.errors import Unavailable
from meshkit.redis_pipe import Command, Pipe

RETRY_EVERY_S: Final = 1.0
"""How often a Redis that can't be reached is asked again."""


class Outage:
    """What the clients of one Redis tell each other: that it can't be reached.

    Whoever asks a silent Redis waits for its whole timeout. So one finds out, and for a while the
    others are told at once; then the next one tries.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until_s: float | None = None
        self.cause: Exception | None = None
        """Why it can't be reached; None while it can."""

    def holds(self, timeout_s: float) -> bool:
        """Whether not to ask now. Who may ask is the only one for as long as that may take.

        Args:
            timeout_s: most seconds that asking takes.
        """
        if self._until_s is None:
            return False
        if self._clock() < self._until_s:
            return True
        self._until_s = self._clock() + max(timeout_s, RETRY_EVERY_S)
        return False

    def begin(self, cause: Exception) -> None:
        """Says that Redis could not be reached."""
        self.cause = cause
        self._until_s = self._clock() + RETRY_EVERY_S

    def end(self) -> None:
        """Says that Redis answered."""
        self.cause = self._until_s = None


class RedisClient:
    """A pool of connections. Use it as an async context manager.

    Args:
        url: of the Redis, `redis://`, `rediss://` or `unix://`.
        timeout_s: most seconds of one use.
        max_connections: most connections; who finds none waits for one within its time.
        unreachable: what to tell where Redis can't be reached.
        reason: the reason of that error.
        outage: shared by the clients of this Redis in a process, so that a request that needs
            several of them waits for one timeout; None where each use tries for itself.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float,
        max_connections: int,
        unreachable: str,
        reason: str,
        outage: Outage | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._unreachable = unreachable
        self._reason = reason
        self._outage = outage or Outage()
        self._tries_always = outage is None
        pool = BlockingConnectionPool.from_url(
            url,
            decode_responses=True,
            max_connections=max_connections,
            timeout=timeout_s,
            # `use` bounds the time. The library would do it with `asyncio.wait_for`, which before
            # Python 3.12 loses a cancellation that comes as what it waits for is done.
            socket_timeout=None,
            socket_connect_timeout=timeout_s,
            # A connection begins without questions about either side, each of which is a trip: a
            # Redis that is slow but answers in time could not be connected to in time.
            protocol=2,
            driver_info=None,
            # A connection that Redis closed while it was idle is noticed only by using it.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        )
        self._redis = Redis(connection_pool=pool)
        self._pipe: Pipe | None = None
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._pipe is not None:
            self._pipe.end(RedisConnectionError("the client was closed"))
        await self._redis.aclose(close_connection_pool=True)

    @contextlib.asynccontextmanager
    async def use(self, *, in_outage: bool = False) -> AsyncIterator[Redis]:
        """The client, for as long as a use may take.

        Args:
            in_outage: whether to ask even while Redis is known to be away.

        Raises:
            Unavailable: Redis can't be reached, or did not answer in time.
        """
        async with self._bounded(in_outage=in_outage):
            yield self._redis

    async def trip(self, commands: Sequence[Command]) -> list[Any]:
        """Sends commands together over a connection that trips share.

        What the library does for a pipeline takes several times as long.

        Returns:
            Their answers, in their order.

        Raises:
            NoScriptError: Redis does not know the script of one of them; the others are done.
            Unavailable: Redis can't be reached, did not answer in time, or refused one of them.
        """
        self._check_outage()
        until_s = asyncio.get_running_loop().time() + self._timeout_s
        try:
            answers = await self._travel(commands, until_s)
        except (RedisError, OSError) as error:
            raise self._failed(error) from error
        self._outage.end()
        for answer in answers:
            if isinstance(answer, NoScriptError):
                raise answer
            if isinstance(answer, RedisError):
                raise self._unavailable() from answer
        return answers

    async def _travel(self, commands: Sequence[Command], until_s: float) -> list[Any]:
        pipe = kept = self._pipe if self._pipe and self._pipe.usable else None
        if pipe is None:
            async with asyncio.timeout_at(until_s):
                pipe = await self._opened()
        try:
            return await pipe.send(commands, until_s, self._late())
        except RedisConnectionError:
            if kept is None:
                raise
        # Redis closed it while it was idle, and that is only noticed now.
        return await self._travel(commands, until_s)

    async def _opened(self) -> Pipe:
        async with self._opening:
            if self._pipe is None or not self._pipe.usable:
                connection = self._redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # the library leaves it untyped
                self._pipe = await Pipe.open(connection)
            return self._pipe

    @contextlib.asynccontextmanager
    async def _bounded(self, *, in_outage: bool) -> AsyncIterator[None]:
        self._check_outage(in_outage=in_outage)
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except (RedisError, OSError) as error:
            raise self._failed(error) from error
        self._outage.end()

    def _check_outage(self, *, in_outage: bool = False) -> None:
        if self._outage.holds(self._timeout_s) and not (in_outage or self._tries_always):
            raise self._unavailable() from self._outage.cause

    def _failed(self, error: RedisError | OSError) -> Unavailable:
        """What to tell of an error, which is noted unless it is an answer."""
        if not isinstance(error, ResponseError):
            # A timeout has nothing to say of itself.
            self._outage.begin(error if str(error) else self._late())
        return self._unavailable()

    def _late(self) -> TimeoutError:
        return TimeoutError(f"no answer in {self._timeout_s:g} s")

    def _unavailable(self) -> Unavailable:
        return Unavailable(self._unreachable, reason=self._reason, retry_delay_s=1.0)
