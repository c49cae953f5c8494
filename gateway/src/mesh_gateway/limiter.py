"""Rate limits that hold over all gateways: one script in Redis, on the time of Redis.

One request costs one round trip, and those that come while another is under way share the next.
While there is plenty of room the work need not wait for the trip (`ahead`). A caller that was just
refused is refused here without asking, until Redis would let it in: what is decided here alone only
ever refuses. The exception is a Redis that can't be reached: then each gateway lets its share of
every rate through by itself.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, Self, TypeAlias

from mesh_gateway import gcra
from mesh_gateway.buckets import Decision, Draft
from mesh_gateway.gcra import LocalBuckets, Lot
from meshkit import names, telemetry
from meshkit.errors import Unavailable
from meshkit.names import LimitOutcome
from meshkit.redis_client import Outage, RedisClient

RETRY_EVERY_S: Final = 1.0
"""How often a Redis that can't be reached is asked again."""
_MOST_REFUSED: Final = 10_000
_MOST_SEEN: Final = 10_000
_MAX_CONNECTIONS: Final = 2
_log = logging.getLogger(__name__)
_decisions = telemetry.counter(
    names.LIMIT_DECISIONS, "{request}", "Requests that rate limits were asked about, by outcome."
)

Pending: TypeAlias = asyncio.Future[Decision]
_Waiting: TypeAlias = list[Pending]


class Limiter:
    """Takes from buckets. Use it as an async context manager.

    Args:
        url: of the Redis, `redis://`, `rediss://` or `unix://`.
        timeout_s: most seconds of one trip.
        replicas: how many gateways there are, for the time when Redis can't be reached.
        outage: shared with the other clients of this Redis.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float,
        replicas: int,
        outage: Outage | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = RedisClient(
            url,
            timeout_s=timeout_s,
            max_connections=_MAX_CONNECTIONS,
            unreachable="the Redis that holds the limits can't be reached",
            reason="LIMIT_STORE_UNAVAILABLE",
            outage=outage,
        )
        self._clock = clock
        self._alone = LocalBuckets(replicas, clock)
        self._alone_until_s = float("-inf")
        self._reachable = True
        self._waiting: dict[Draft, _Waiting] = {}
        self._one_is_out = False
        self._last_requests = 1
        self._trips: asyncio.Task[None] | None = None
        self._refused: OrderedDict[Draft, tuple[float, Decision]] = OrderedDict()
        self._left: OrderedDict[Draft, int] = OrderedDict()

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._trips:
            self._trips.cancel()
            await asyncio.gather(self._trips, return_exceptions=True)
        await self._client.__aexit__()

    async def ping(self) -> None:
        """Asks Redis whether it is there, over the connection that is kept.

        Raises:
            Unavailable: it is not.
        """
        await self._client.trip([("PING",)])

    async def take(self, draft: Draft) -> Decision:
        """Takes from every bucket of a draft, or from none where one has not enough."""
        if refused := self._still_refused(draft):
            return _counted(LimitOutcome.REFUSED_HERE, refused)
        if self._clock() < self._alone_until_s:
            return self._take_alone(draft)
        return await (self._wait(draft) if self._many else self._go(draft))

    def ahead(self, draft: Draft) -> Pending | None:
        """Takes while the work is done already, where there was plenty of room the last time.

        At most half of what was left may be taken so by one trip and half by the next: while
        nobody else draws from these buckets, none of them is refused.

        Returns:
            What Redis decides, if it is not cancelled before; None where `take` must go first.
        """
        waiting = len(self._waiting.get(draft, ()))
        if self._clock() < self._alone_until_s or waiting >= self._left.get(draft, 0) // 2:
            return None
        return self._wait(draft)

    def refused(self, draft: Draft) -> Decision | None:
        """A refusal that Redis has just given and that still holds; None where it may be asked."""
        found = self._still_refused(draft)
        return _counted(LimitOutcome.REFUSED_HERE, found) if found else None

    @property
    def now_s(self) -> float:
        """The clock of `heard`."""
        return self._clock()

    def heard(self, draft: Draft, sent_s: float, decision: Decision) -> None:
        """Takes note of what Redis has decided in a trip that took something else too.

        Args:
            draft: what was taken, or not.
            sent_s: when the trip began.
            decision: of Redis.
        """
        if decision.passed:
            _counted(LimitOutcome.PASSED, decision)
        else:
            _counted(LimitOutcome.REFUSED, decision)
            self._remember(draft, sent_s, decision)

    def _still_refused(self, draft: Draft) -> Decision | None:
        if draft not in self._refused:
            return None
        until_s, decision = self._refused[draft]
        left_s = until_s - self._clock()
        if left_s > 0:
            return Decision(False, left_s, decision.levels)
        del self._refused[draft]
        return None

    def _take_alone(self, draft: Draft) -> Decision:
        decision = self._alone.take(draft)
        outcome = LimitOutcome.PASSED_ALONE if decision.passed else LimitOutcome.REFUSED_ALONE
        return _counted(outcome, decision)

    @property
    def _many(self) -> bool:
        """Whether a request will have company: others are out, or were many the last time."""
        return self._one_is_out or self._trips is not None or self._last_requests > 1

    async def _go(self, draft: Draft) -> Decision:
        """Makes a trip for one, which a task and its turns of the loop would delay."""
        self._one_is_out = True
        try:
            [[decision]] = await self._ask([Lot(draft, 1)])
        finally:
            self._one_is_out = False
        return decision

    def _wait(self, draft: Draft) -> Pending:
        """Joins a trip, shared by all who come in this turn of the loop or while one is out."""
        future: Pending = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(draft, []).append(future)
        if self._trips is None:
            self._trips = asyncio.create_task(self._travel())
        return future

    async def _travel(self) -> None:
        """Makes trips until nobody waits."""
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, {}
                await self._trip(waiting)
        finally:
            self._trips = None

    async def _trip(self, waiting: dict[Draft, _Waiting]) -> None:
        present = {
            draft: [each for each in futures if not each.done()]
            for draft, futures in waiting.items()
        }
        lots = [Lot(draft, len(futures)) for draft, futures in present.items() if futures]
        self._last_requests = sum(lot.requests for lot in lots)
        if not lots:
            return
        for lot, decisions in zip(lots, await self._ask(lots), strict=True):
            _settle(present[lot.draft], decisions)

    async def _ask(self, lots: Sequence[Lot]) -> list[list[Decision]]:
        """Takes in one trip, or here where Redis can't be reached, and notes what becomes known."""
        sent_s = self._clock()
        try:
            decided = await gcra.take(self._client.trip, lots)
        except Unavailable as error:
            self._note(reachable=False, cause=error.__cause__)
            return [[self._take_alone(lot.draft) for _ in range(lot.requests)] for lot in lots]
        self._note(reachable=True, cause=None)
        for lot, decisions in zip(lots, decided, strict=True):
            self._learn(lot.draft, sent_s, decisions)
        return decided

    def _learn(self, draft: Draft, sent_s: float, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            _counted(LimitOutcome.PASSED if decision.passed else LimitOutcome.REFUSED, decision)
        last = decisions[-1]
        if not last.passed:
            self._remember(draft, sent_s, last)
        self._left[draft] = min(level.left for level in last.levels) // draft.cost
        if len(self._left) > _MOST_SEEN:
            self._left.popitem(last=False)

    def _remember(self, draft: Draft, sent_s: float, refusal: Decision) -> None:
        # From when it was sent: Redis decided later, so it would let nobody in before that is over.
        self._refused[draft] = sent_s + refusal.retry_s, refusal
        self._refused.move_to_end(draft)
        if len(self._refused) > _MOST_REFUSED:
            self._refused.popitem(last=False)

    def _note(self, *, reachable: bool, cause: BaseException | None) -> None:
        if not reachable:
            self._alone_until_s = self._clock() + RETRY_EVERY_S
        if reachable == self._reachable:
            return
        self._reachable = reachable
        if reachable:
            _log.info("the limits are in Redis again")
        else:
            _log.error(
                "the Redis of the limits can't be reached, each gateway counts alone: %s", cause
            )


def _settle(futures: _Waiting, decisions: Sequence[Decision]) -> None:
    for future, decision in zip(futures, decisions, strict=True):
        if not future.done():
            future.set_result(decision)


def _counted(outcome: LimitOutcome, decision: Decision) -> Decision:
    _decisions.add(1, {names.LIMIT_OUTCOME: outcome})
    return decision
