"""Who may come in, and how much: what every request passes, by whichever door it comes.

Free of HTTP and gRPC. In the order of their cost: who asks, whether it may, whether there is a
place for it, whether its limits have room.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Final, Protocol

from mesh_gateway.auth import Authenticator
from mesh_gateway.buckets import KEY, TENANT, Bucket, Decision, Draft, check
from mesh_gateway.caller import Caller
from mesh_gateway.limiter import Limiter
from mesh_gateway.slots import Slots
from meshkit import context, deadline, names, scopes
from meshkit.context import RequestContext
from meshkit.errors import PermissionDenied, Unavailable
from meshkit.fairness import InFlight
from meshkit.key_records import Tenant
from meshkit.rates import Rate

_MOST_DRAFTS: Final = 10_000
# Longer than anything takes, for a request that has no deadline.
_LONGEST_LEASE_S: Final = 3600.0
_LEASE_MARGIN_S: Final = 5.0
_NO_SLOT: Final = nullcontext()


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about to do: a verb of a service. Limits count by it, whatever the door."""

    service: str
    verb: str

    def __str__(self) -> str:
        """As scopes name it."""
        return f"{self.service}:{self.verb}"


class Passage(Protocol):
    """Told what becomes known of a request on its way in, even if it gets no further."""

    caller: Caller | None
    draft: Draft | None
    decision: Decision | None


@dataclass(frozen=True, slots=True)
class Limits:
    """What limits requests.

    Attributes:
        limiter: takes from the buckets of rates.
        slots: holds the slots of callers that may only have so many requests in flight.
        tenant: what is set for a tenant; None where nothing is.
        key_rate: of a caller on each target, where its key says nothing; None for no limit.
        tenant_rate: of all keys of a tenant together, where nothing is set; None for no limit.
    """

    limiter: Limiter
    slots: Slots
    tenant: Callable[[str], Awaitable[Tenant | None]]
    key_rate: Rate | None
    tenant_rate: Rate | None


class Admission:
    """Admits requests.

    Args:
        authenticator: says who asks.
        in_flight: shares the places of this gateway.
        limits: what callers may have of all gateways.
    """

    def __init__(self, authenticator: Authenticator, in_flight: InFlight, limits: Limits) -> None:
        self._authenticator = authenticator
        self._in_flight = in_flight
        self._limits = limits
        self._drafts: OrderedDict[tuple[Caller, Target, Rate | None], Draft | None] = OrderedDict()

    @asynccontextmanager
    async def admit(
        self, presented: str | None, target: Target, passage: Passage
    ) -> AsyncIterator[Caller]:
        """Lets a request in and makes its caller the one at hand inside.

        Args:
            presented: the API key or token that the caller sent, if any.
            target: what it wants.
            passage: told what becomes known.

        Raises:
            Unauthenticated: the key is missing, or not valid.
            PermissionDenied: it may not do this.
            Overloaded: too many requests are in flight.
            QuotaExceeded: a limit of the caller or of its tenant is reached.
            Unavailable: nobody can say whether the key is valid.
        """
        with self._in_flight.enter():
            caller = passage.caller = await self.authorize(presented, target)
            with self._in_flight.hold(caller.key_id):
                async with self._slot(caller):
                    await self._take(caller, target, passage)
                    with context.scope(_of(caller)):
                        yield caller

    async def identify(self, presented: str | None, passage: Passage) -> None:
        """Makes sure that somebody known asks, whatever it is.

        Raises:
            Unauthenticated: the key is missing, or not valid.
            Unavailable: nobody can say whether the key is valid.
        """
        passage.caller = await self._authenticator.authenticate(presented)

    async def authorize(self, presented: str | None, target: Target) -> Caller:
        """The caller, if it may do this; nothing is counted.

        Raises:
            Unauthenticated: the key is missing, or not valid.
            PermissionDenied: it may not do this.
            Unavailable: nobody can say whether the key is valid.
        """
        caller = await self._authenticator.authenticate(presented)
        if not scopes.allows(caller.scopes, target.service, target.verb):
            raise PermissionDenied(
                f"{caller.key_id} may not do {target}; use a key with that scope "
                f"(`mesh keys create NAME --scope {target}`)",
                reason="SCOPE_MISSING",
            )
        return caller

    def _slot(self, caller: Caller) -> AbstractAsyncContextManager[None]:
        if caller.max_concurrent is None:
            return _NO_SLOT
        name = f"{names.REDIS_SLOTS}:{{{caller.tenant}}}:{caller.key_id}"
        return self._limits.slots.hold(
            name, f"key:{caller.key_id}", caller.max_concurrent, _lease_s()
        )

    async def _take(self, caller: Caller, target: Target, passage: Passage) -> None:
        draft = passage.draft = await self._draft(caller, target)
        if draft:
            decision = passage.decision = await self._limits.limiter.take(draft)
            check(draft, decision)

    async def _draft(self, caller: Caller, target: Target) -> Draft | None:
        """What a request of the caller takes; None where nothing limits it."""
        limits = self._limits
        try:
            tenant = await limits.tenant(caller.tenant)
        except Unavailable:  # what is set for it is not known, so what holds for all does
            tenant = None
        rate = tenant.rate if tenant else limits.tenant_rate
        known = (caller, target, rate)
        if known not in self._drafts:
            self._drafts[known] = _draft(caller, target, caller.rate or limits.key_rate, rate)
            if len(self._drafts) > _MOST_DRAFTS:
                self._drafts.popitem(last=False)
        return self._drafts[known]


def _draft(
    caller: Caller, target: Target, key_rate: Rate | None, tenant_rate: Rate | None
) -> Draft | None:
    # The tenant is the hash tag: all buckets of a request lie in one slot of a Redis Cluster.
    prefix = f"{names.REDIS_LIMIT}:{{{caller.tenant}}}"
    buckets = []
    if key_rate:
        subject = f"key:{caller.key_id}"
        buckets.append(Bucket(f"{prefix}:{caller.key_id}:{target}", KEY, subject, key_rate))
    if tenant_rate:
        subject = f"tenant:{caller.tenant}"
        buckets.append(Bucket(f"{prefix}:", TENANT, subject, tenant_rate))
    return Draft(caller.tenant, tuple(buckets)) if buckets else None


def _of(caller: Caller) -> RequestContext:
    """The request at hand as its caller's."""
    request = context.current()
    if request is None:
        return RequestContext("", caller.key_id, caller.tenant)
    return RequestContext(request.request_id, caller.key_id, caller.tenant, request.hops)


def _lease_s() -> float:
    limit = deadline.current()
    return _LEASE_MARGIN_S + (limit.remaining_s if limit else _LONGEST_LEASE_S)
