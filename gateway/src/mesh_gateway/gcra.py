"""The generic cell rate algorithm (ITU-T I.371): by a script in Redis, and in this process.

A bucket is one number: when it will be full again. The script's own words say how it counts.
"""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, TypeAlias

from redis.exceptions import NoScriptError

from mesh_gateway.buckets import Decision, Draft, Level
from meshkit.redis_pipe import Command

_SCRIPT: Final = resources.files("mesh_gateway").joinpath("gcra.lua").read_text("utf-8")
_SHA: Final = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
_MOST_BUCKETS: Final = 100_000
_US: Final = 1e6

Trip: TypeAlias = Callable[[Sequence[Command]], Awaitable[list[Any]]]


@dataclass(frozen=True, slots=True)
class Lot:
    """Requests that take the same."""

    draft: Draft
    requests: int


async def take(trip: Trip, lots: Sequence[Lot]) -> list[list[Decision]]:
    """Takes for many requests, in one round trip.

    Args:
        trip: sends commands to Redis together.
        lots: what is taken.

    Returns:
        For each lot the decisions on its requests; those that pass come first.

    Raises:
        Unavailable: Redis did not answer.
    """
    by_tenant: dict[str, list[int]] = {}
    for index, lot in enumerate(lots):
        by_tenant.setdefault(lot.draft.tenant, []).append(index)
    calls = [[lots[index] for index in indices] for indices in by_tenant.values()]
    answers = await _evaluate(trip, calls)
    decided: list[list[Decision]] = [[] for _ in lots]
    for indices, call, answer in zip(by_tenant.values(), calls, answers, strict=True):
        for index, decisions in zip(indices, _decode(call, answer), strict=True):
            decided[index] = decisions
    return decided


async def _evaluate(trip: Trip, calls: Sequence[Sequence[Lot]]) -> list[list[int]]:
    commands: list[Command] = []
    for lots in calls:
        keys, arguments = _encode(lots)
        commands.append(("EVALSHA", _SHA, len(keys), *keys, *arguments))
    try:
        return await trip(commands)
    except NoScriptError:  # a Redis that was started since; nothing of the trip was done
        await trip([("SCRIPT", "LOAD", _SCRIPT)])
        return await _evaluate(trip, calls)


def _encode(lots: Sequence[Lot]) -> tuple[list[str], list[str | int | float]]:
    keys: list[str] = []
    arguments: list[str | int | float] = []
    for lot in lots:
        buckets = lot.draft.buckets
        arguments += [len(buckets), lot.requests, lot.draft.cost]
        for bucket in buckets:
            keys.append(bucket.name)
            arguments += [bucket.rate.interval_us, bucket.rate.burst]
    return keys, arguments


def _decode(lots: Sequence[Lot], answer: Sequence[int]) -> Iterator[list[Decision]]:
    start = 0
    for lot in lots:
        passed, retry_us = answer[start : start + 2]
        end = start + 2 + 2 * len(lot.draft.buckets)
        pairs = zip(answer[start + 2 : end : 2], answer[start + 3 : end : 2], strict=True)
        levels = tuple(Level(left, next_us / _US) for left, next_us in pairs)
        good, bad = Decision(True, 0.0, levels), Decision(False, retry_us / _US, levels)
        yield [good] * passed + [bad] * (lot.requests - passed)
        start = end


class LocalBuckets:
    """Buckets of this process alone, each with its share of the rate; the least used go first.

    Args:
        replicas: how many processes share a rate.
        clock: seconds that only grow.
    """

    def __init__(self, replicas: int, clock: Callable[[], float]) -> None:
        self._replicas = replicas
        self._clock = clock
        self._full_at_us: OrderedDict[str, float] = OrderedDict()

    def take(self, draft: Draft) -> Decision:
        """Takes for one request; one that costs more than a share holds takes all of it."""
        now_us = self._clock() * _US
        drawn = []
        for bucket in draft.buckets:
            rate = bucket.rate.share(self._replicas)
            cost = min(draft.cost, rate.burst)
            full_at_us = max(now_us, self._full_at_us.get(bucket.name, now_us))
            after_us = full_at_us + cost * rate.interval_us
            drawn.append((bucket.name, rate, full_at_us, after_us))
        late_us = max(after_us - rate.burst * rate.interval_us for _, rate, _, after_us in drawn)
        passed = late_us <= now_us
        if passed:
            for name, _, _, after_us in drawn:
                self._full_at_us[name] = after_us
                self._full_at_us.move_to_end(name)
            while len(self._full_at_us) > _MOST_BUCKETS:
                self._full_at_us.popitem(last=False)
        levels = tuple(
            _level(rate.burst, rate.interval_us, (after_us if passed else at_us) - now_us)
            for _, rate, at_us, after_us in drawn
        )
        return Decision(passed, 0.0 if passed else (late_us - now_us) / _US, levels)


def _level(burst: int, interval_us: float, full_in_us: float) -> Level:
    left = max(0, math.floor(burst - full_in_us / interval_us + 1e-6))
    next_us = 0.0 if left >= burst else full_in_us - (burst - left - 1) * interval_us
    return Level(left, max(0.0, next_us) / _US)
