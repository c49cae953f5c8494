"""What the headers of a response say: what answered, and what is left of the caller's limits."""

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias
from urllib.parse import quote

from starlette.types import Message

from mesh.common.v1 import common_pb2
from mesh_gateway.exchange import Exchange
from mesh_gateway.metering import Reservation
from meshkit import names

Header: TypeAlias = tuple[bytes, bytes]
_CACHE: Final = names.ANSWER_CACHE.encode()


class Told:
    """Gathers the headers of one response; they are there on errors too.

    Args:
        exchange: the request.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._lineage: Sequence[Header] = ()
        self._looked_up: Sequence[Header] = ()
        self._generated = False
        self._reservation: Reservation | None = None
        exchange.at_start.append(self._add)

    def reserved(self, reservation: Reservation) -> None:
        """Takes what was reserved, whose budgets may be past their soft limits."""
        self._reservation = reservation

    def answered(self, model: str, lineage: common_pb2.Lineage) -> None:
        """Takes what answers.

        Args:
            model: its name where it is served, which a caller may not have named.
            lineage: of the answer.
        """
        self._lineage = _lineage(
            model, lineage.version, lineage.variant, lineage.run, lineage.deployment
        )

    def looked_up(self, age_s: int | None) -> None:
        """Takes what became of looking into the prompt cache.

        Args:
            age_s: seconds since the answer was kept; None where there was none, so that a part of
                the answer at least is new.
        """
        self._generated = self._generated or age_s is None
        if self._generated:
            self._looked_up = ((_CACHE, b"miss"),)
        else:
            self._looked_up = ((_CACHE, b"hit"), (b"age", b"%d" % (age_s or 0)))

    def _add(self, message: Message) -> None:
        headers = [*message.get("headers", ()), *self._lineage, *self._looked_up]
        headers += self._limits()
        message["headers"] = headers

    def _limits(self) -> Iterator[Header]:
        draft, decision = self._exchange.draft, self._exchange.decision
        if draft and decision:
            pairs = zip(draft.buckets, decision.levels, strict=True)
            bucket, level = min(pairs, key=lambda pair: pair[1].left)
            rate = bucket.rate
            more_s = (rate.burst - level.left - 1) * rate.interval_us / 1e6
            full_s = level.next_s + more_s if level.left < rate.burst else 0.0
            yield from _level(b"requests", rate.burst, level.left, full_s)
        if tokens := self._exchange.tokens:  # of a request that was refused for them, too
            yield from _level(b"tokens", tokens.limit, tokens.remaining, tokens.reset_s)
        if self._reservation:
            for name, value in self._reservation.headers():
                yield name.encode(), _printable(value)


def duration(seconds: float) -> str:
    """A time as OpenAI's headers have it: `120ms`, `1.5s`, `6m0s`."""
    ms = math.ceil(seconds * 1000)
    if ms < 1000:
        return f"{ms}ms" if ms > 0 else "0s"
    minutes, ms = divmod(ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h" if hours else ""
    if hours or minutes:
        text += f"{minutes}m"
    return f"{text}{ms / 1000:g}s"


def _level(what: bytes, limit: int, left: int, full_s: float) -> Iterator[Header]:
    yield b"x-ratelimit-limit-" + what, b"%d" % limit
    yield b"x-ratelimit-remaining-" + what, b"%d" % max(0, left)
    yield b"x-ratelimit-reset-" + what, duration(max(0.0, full_s)).encode()


@functools.lru_cache(256)
def _lineage(
    model: str, version: str, variant: str, run: str, deployment: str
) -> tuple[Header, ...]:
    """The headers of what answers, which requests are many of and lineages few."""
    fields = {
        names.ANSWER_MODEL: model,
        names.ANSWER_VERSION: version,
        names.ANSWER_VARIANT: variant,
        names.ANSWER_RUN: run,
        names.ANSWER_DEPLOYMENT: deployment,
    }
    return tuple((name.encode(), _printable(value)) for name, value in fields.items() if value)


def _printable(value: str) -> bytes:
    """A header's value: names that people gave may have more than ASCII in them."""
    plain = value.isascii() and value.isprintable() and "%" not in value
    return (value if plain else quote(value, safe=" /:@")).encode()
