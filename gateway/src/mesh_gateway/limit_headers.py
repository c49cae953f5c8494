"""What a caller is told of its limits, in headers and in gRPC metadata.

Source: draft-ietf-httpapi-ratelimit-headers-11, whose fields are lists of strings with parameters
(RFC 9651): `q` units in a window of `w` seconds; `r` units left, and `t` seconds until there is one
more.
"""

import functools
import math
from collections.abc import Iterator
from typing import Final

from mesh_gateway.buckets import Decision, Draft

POLICY: Final = "ratelimit-policy"
LEVEL: Final = "ratelimit"


def fields(draft: Draft | None, decision: Decision | None) -> Iterator[tuple[str, str]]:
    """The fields of a request that took a draft; none of one that nothing limits."""
    if draft is None or decision is None:
        return
    yield POLICY, _policy(draft)
    yield (
        LEVEL,
        ", ".join(
            f'"{bucket.policy}";r={level.left};t={math.ceil(level.next_s)}'
            for bucket, level in zip(draft.buckets, decision.levels, strict=True)
        ),
    )


@functools.lru_cache(1024)
def _policy(draft: Draft) -> str:
    return ", ".join(
        f'"{bucket.policy}";q={bucket.rate.requests};w={bucket.rate.period_s}'
        for bucket in draft.buckets
    )
