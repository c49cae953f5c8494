"""What limits are made of: buckets of units that come back at a rate."""

from dataclasses import dataclass
from typing import Final

from meshkit.errors import QuotaExceeded, QuotaViolation
from meshkit.rates import Rate

KEY: Final = "key"
TENANT: Final = "tenant"
CONCURRENCY: Final = "concurrency"
"""The policies, as headers and errors name them."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A limit of one caller.

    Attributes:
        name: its key in Redis.
        policy: which kind of limit it is.
        subject: whose it is, such as `key:a1b2c3`.
        rate: what it holds, and how fast that comes back.
    """

    name: str
    policy: str
    subject: str
    rate: Rate


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """What one request takes. Equal only to itself, so that it costs little as a key.

    Attributes:
        tenant: whose buckets they are; they lie in one slot of a Redis Cluster.
        buckets: taken from all of them, or from none.
        cost: units from each; no more than any of them holds when it is full.
    """

    tenant: str
    buckets: tuple[Bucket, ...]
    cost: int = 1


@dataclass(frozen=True, slots=True)
class Level:
    """How full a bucket is.

    Attributes:
        left: units left.
        next_s: seconds until there is one more; 0 for a full one.
    """

    left: int
    next_s: float


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a request may pass.

    Attributes:
        passed: whether it may.
        retry_s: seconds until it would; 0 where it did.
        levels: of each bucket now, in their order.
    """

    passed: bool
    retry_s: float
    levels: tuple[Level, ...]


def check(draft: Draft, decision: Decision) -> None:
    """Lets a request go on that may pass.

    Raises:
        QuotaExceeded: it may not; names the limits that have no room for it.
    """
    if decision.passed:
        return
    pairs = zip(draft.buckets, decision.levels, strict=True)
    short = [bucket for bucket, level in pairs if level.left < draft.cost] or draft.buckets
    said = " and ".join(f"{bucket.subject} may make {bucket.rate.described}" for bucket in short)
    raise QuotaExceeded(
        f"the limit is reached: {said}; try again in {decision.retry_s:.3f} s",
        quotas=[QuotaViolation(each.policy, each.subject, each.rate.described) for each in short],
        retry_delay_s=decision.retry_s,
    )
