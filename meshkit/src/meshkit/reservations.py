"""Reservations of tokens and money in Redis: decided for all gateways by one script, on its time.

The script's own words say how it counts. Requests that wait while a trip is under way share the
next one.
"""

import asyncio
import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from importlib import resources
from typing import Any, Final, TypeAlias

from redis.exceptions import NoScriptError

from meshkit import names
from meshkit.prices import Price
from meshkit.redis_client import Outage, RedisClient
from meshkit.redis_pipe import Command

KEPT_S: Final = 300
"""How long it is known what a reservation was settled to, after its lease."""
_SCRIPT: Final = resources.files("meshkit").joinpath("reservations.lua").read_text("utf-8")
_SHA: Final = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
_MAX_CONNECTIONS: Final = 4
# A script of one takes some 50 us, for which Redis does nothing else.
_MOST_A_TRIP: Final = 200
_US: Final = 1e6


class Kind(StrEnum):
    """What an account counts, and how it is filled again."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Account:
    """Something that can be used up.

    Attributes:
        kind: what it counts: requests and tokens come back at a rate, money with a new period.
        key: in Redis; its hash tag is the tenant.
        most: units that it holds: tokens, or billionths of the currency.
        interval_us: microseconds that a unit takes to come back; 0 for money.
    """

    kind: Kind
    key: str
    most: int
    interval_us: float = 0.0

    @property
    def is_money(self) -> bool:
        """Whether it counts money."""
        return self.kind in {Kind.DAY, Kind.MONTH}


@dataclass(frozen=True, slots=True)
class Used:
    """What a request has used.

    Attributes:
        prompt: tokens of the prompt, the cached ones among them.
        completion: tokens that were generated.
        cached_prompt: tokens of the prompt that needed no computation.
    """

    prompt: int = 0
    completion: int = 0
    cached_prompt: int = 0


@dataclass(frozen=True, slots=True)
class Ticket:
    """What one reservation takes of its accounts.

    Attributes:
        tenant: whose accounts they are; they lie in one slot of a Redis Cluster.
        id: of the reservation.
        holds: the accounts, with what is reserved of each.
        price: of what is used.
    """

    tenant: str
    id: str
    holds: tuple[tuple[Account, int], ...]
    price: Price

    @property
    def record(self) -> str:
        """The key of its record."""
        return record_key(self.tenant, self.id)

    def to_text(self) -> str:
        """What whoever settles it must know."""
        price = self.price
        return json.dumps(
            {
                "holds": [
                    [each.kind, each.key, amount, each.most, each.interval_us]
                    for each, amount in self.holds
                ],
                "price": [str(price.input), str(price.cached_input), str(price.output)],
            }
        )

    @classmethod
    def from_text(cls, tenant: str, ticket_id: str, text: str) -> "Ticket":
        """The inverse of `to_text`."""
        content = json.loads(text)
        holds = tuple(
            (Account(Kind(kind), key, most, interval_us), amount)
            for kind, key, amount, most, interval_us in content["holds"]
        )
        return cls(tenant, ticket_id, holds, Price(*(Decimal(each) for each in content["price"])))


@dataclass(frozen=True, slots=True)
class Level:
    """How much an account has.

    Attributes:
        left: units that nobody has used or reserved.
        whole_s: seconds until it is whole again, if what is reserved is used.
        fits_s: seconds until what was asked for fits, if what is reserved is used; 0 if it does.
    """

    left: int
    whole_s: float
    fits_s: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may go on, and the levels of its accounts: of requests first."""

    passed: bool
    levels: tuple[Level, ...]


_Waiting: TypeAlias = list[tuple[Command, "asyncio.Future[Any]"]]


class Reservations(RedisClient):
    """Reserves and settles. Use it as an async context manager.

    Args:
        url: of the Redis that holds the limits.
        timeout_s: most seconds of one trip.
        outage: shared with the other clients of this Redis.
    """

    def __init__(self, url: str, *, timeout_s: float, outage: Outage | None = None) -> None:
        super().__init__(
            url,
            timeout_s=timeout_s,
            max_connections=_MAX_CONNECTIONS,
            unreachable="the Redis that holds the limits can't be reached",
            reason="LIMIT_STORE_UNAVAILABLE",
            outage=outage,
        )
        self._waiting: _Waiting = []
        self._sending: asyncio.Task[None] | None = None

    async def __aexit__(self, *_: object) -> None:
        if self._sending:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        await super().__aexit__()

    async def reserve(
        self, ticket: Ticket, lease_s: float, requests: Sequence[Account] = ()
    ) -> Verdict:
        """Reserves from all accounts of a ticket, or from none.

        Args:
            ticket: what to reserve.
            lease_s: seconds after which it comes back by itself.
            requests: limits of requests that one is taken from at the same time.

        Raises:
            Unavailable: Redis did not answer; it may have been reserved all the same, until it is
                settled or its lease is over.
        """
        takes = [*((each, 1) for each in requests), *ticket.holds]
        answer = await self._shared(
            _command(
                ticket,
                takes,
                ("reserve", ticket.id, KEPT_S * 1000, round(lease_s * 1000), ticket.to_text()),
            )
        )
        return Verdict(
            answer[0] == 1,
            tuple(
                Level(int(left), whole_us / _US, fits_us / _US)
                for left, whole_us, fits_us in zip(
                    answer[1::3], answer[2::3], answer[3::3], strict=True
                )
            ),
        )

    async def settle(self, settled: Sequence[tuple[Ticket, Used]]) -> None:
        """Settles tickets to what was used, in a trip with others; done twice it counts once.

        Raises:
            Unavailable: Redis did not answer.
        """
        await asyncio.gather(
            *(
                self._shared(
                    _command(
                        ticket,
                        ticket.holds,
                        (
                            "settle",
                            ticket.id,
                            KEPT_S * 1000,
                            used.prompt + used.completion,
                            ticket.price.nanos(used.prompt, used.cached_prompt, used.completion),
                        ),
                    )
                )
                for ticket, used in settled
            )
        )

    async def find(self, wanted: Sequence[tuple[str, str]]) -> list[Ticket | None]:
        """The tickets of tenants and ids; None where it is not known any more.

        Raises:
            Unavailable: Redis did not answer.
        """
        async with self.use() as redis:
            pipeline = redis.pipeline(transaction=False)
            for each in wanted:
                pipeline.hget(record_key(*each), "told")
            told: list[str | None] = await pipeline.execute()
        return [
            Ticket.from_text(tenant, ticket_id, text) if text else None
            for (tenant, ticket_id), text in zip(wanted, told, strict=True)
        ]

    async def _shared(self, command: Command) -> Any:
        """Sends a command with those of others that wait."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, future))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_waiting())
        return await future

    async def _send_waiting(self) -> None:
        """Makes trips until nobody waits."""
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_MOST_A_TRIP], self._waiting[_MOST_A_TRIP:]
                await self._send([each for each in batch if not each[1].done()])
        finally:
            self._sending = None

    async def _send(self, batch: _Waiting) -> None:
        if not batch:
            return
        try:
            answers = await self._evaluate([command for command, _ in batch])
        except Exception as error:  # noqa: BLE001  # those that wait are told, whatever it is
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    async def _evaluate(self, commands: Sequence[Command]) -> list[Any]:
        try:
            return await self.trip(commands)
        except NoScriptError:  # a Redis that was started since; nothing of the trip was done
            await self.trip([("SCRIPT", "LOAD", _SCRIPT)])
            return await self.trip(commands)


def new_id() -> str:
    """An id that no other reservation has."""
    return secrets.token_hex(8)


def record_key(tenant: str, ticket_id: str) -> str:
    """The key of a reservation's record."""
    return f"{names.REDIS_RESERVATION}:{{{tenant}}}:{ticket_id}"


def _command(
    ticket: Ticket,
    takes: Sequence[tuple[Account, int]],
    arguments: tuple[str | int | float, ...],
) -> Command:
    keys, told = [ticket.record], list(arguments)
    for account, amount in takes:
        beside = account.key if account.kind is Kind.REQUESTS else f"{account.key}:open"
        keys += [account.key, beside]
        told += [account.kind.value, amount, account.most, account.interval_us]
    return ("EVALSHA", _SHA, len(keys), *keys, *told)
