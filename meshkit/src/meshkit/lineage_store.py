"""Which model answered which request, for a day: the gateway writes it, `mesh lineage` reads it.

Requests are many and lineages few. So the hash of each minute maps a request's id to a fingerprint,
and a second one maps fingerprints to lineages: some 130 bytes of Redis a request, and one command
for as many requests as there are to write.
"""

import hashlib
import itertools
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from meshkit import names
from meshkit.lineage import Lineage
from meshkit.redis_client import RedisClient
from meshkit.redis_pipe import Command

KEPT: Final = timedelta(days=1)
"""How long a request's lineage can be found."""

_MINUTE: Final = timedelta(minutes=1)
# Whoever may still be asked for its first second lasts a minute longer.
_KEPT_S: Final = int((KEPT + 2 * _MINUTE).total_seconds())
_MAX_CONNECTIONS: Final = 4


@dataclass(frozen=True, slots=True)
class Answer:
    """What answered a request.

    Attributes:
        minute: when, to the minute: UTC.
        lineage: of the answer, without the age of features, which differs from one to the next.
    """

    minute: datetime
    lineage: Lineage


class LineageStore(RedisClient):
    """The lineage of every request of the last day, in Redis. Use it as an async context manager.

    Args:
        url: of the Redis, `redis://`, `rediss://` or `unix://`.
        timeout_s: most seconds of one call.
    """

    def __init__(self, url: str, *, timeout_s: float = 1.0) -> None:
        super().__init__(
            url,
            timeout_s=timeout_s,
            max_connections=_MAX_CONNECTIONS,
            unreachable="the Redis that keeps lineages can't be reached; try again in a moment",
            reason="LINEAGE_STORE_UNAVAILABLE",
        )

    async def write(self, answers: Iterable[tuple[str, Lineage]]) -> None:
        """Keeps the lineage of requests by their ids, as of now.

        Of one id the last lineage of each minute is kept.

        Raises:
            Unavailable: Redis can't be reached.
        """
        prints: dict[Lineage, str] = {}
        requests: dict[str, str] = {}
        for request_id, lineage in answers:
            ageless = lineage
            if lineage.feature_age_s is not None:
                ageless = replace(lineage, feature_age_s=None)
            found = prints.get(ageless)
            if found is None:
                found = prints[ageless] = _fingerprint(ageless)
            requests[request_id] = found
        if not requests:
            return
        minute = datetime.now(UTC)
        lineages = {each: _encode(lineage) for lineage, each in prints.items()}
        commands: list[Command] = []
        for key, fields in (
            (_lineages_key(minute), lineages),
            (_requests_key(minute), requests),
        ):
            commands.append(("HSET", key, *itertools.chain.from_iterable(fields.items())))
            commands.append(("EXPIRE", key, _KEPT_S))
        await self.trip(commands)

    async def find(self, request_id: str) -> list[Answer]:
        """What answered the requests of an id within the last day, the latest first.

        Raises:
            Unavailable: Redis can't be reached.
        """
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        minutes = [now - number * _MINUTE for number in range(KEPT // _MINUTE + 1)]
        async with self.use() as redis:
            pipeline = redis.pipeline(transaction=False)
            for minute in minutes:
                pipeline.hget(_requests_key(minute), request_id)
            prints: list[str | None] = await pipeline.execute()
            found = [(minute, each) for minute, each in zip(minutes, prints, strict=True) if each]
            for minute, each in found:
                pipeline.hget(_lineages_key(minute), each)
            contents: list[str | None] = await pipeline.execute() if found else []
        return [
            Answer(minute, Lineage(**json.loads(content)))
            for (minute, _), content in zip(found, contents, strict=True)
            if content
        ]


def _fingerprint(lineage: Lineage) -> str:
    return hashlib.sha256(_encode(lineage).encode()).hexdigest()[:16]


def _encode(lineage: Lineage) -> str:
    return json.dumps(asdict(lineage), sort_keys=True)


def _requests_key(minute: datetime) -> str:
    return f"{names.REDIS_LINEAGE}:requests:{minute:%Y%m%d%H%M}"


def _lineages_key(minute: datetime) -> str:
    return f"{names.REDIS_LINEAGE}:lineages:{minute:%Y%m%d%H%M}"
