"""Who may come in, and how much: what every request passes, by whichever door it comes.

Free of HTTP and gRPC. In the order of their cost: who asks, whether it may, whether there is a
place for it, whether its limits have room.
"""

import enum
import sys
from collections import OrderedDict
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, NamedTuple, Protocol

from mesh_gateway.auth import Authenticator
from mesh_gateway.buckets import KEY, TENANT, Bucket, Decision, Draft, check
from mesh_gateway.caller import Caller
from mesh_gateway.leases import lease_s
from mesh_gateway.limiter import Limiter, Pending
from mesh_gateway.record_cache import RecordCache
from mesh_gateway.slots import Slots
from mesh_gateway.token_limits import TokenLevel
from meshkit import context, names, scopes
from meshkit.context import RequestContext
from meshkit.errors import MeshError, PermissionDenied, Unavailable
from meshkit.fairness import InFlight
from meshkit.key_records import Tenant
from meshkit.rates import Rate

_MOST_DRAFTS: Final = 10_000


class Target(NamedTuple):
    """What a request is about to do: a verb of a service. Limits count by it, whatever the door."""

    service: str
    verb: str

    def __str__(self) -> str:
        """As scopes name it."""
        return f"{self.service}:{self.verb}"


class Takes(enum.Enum):
    """When what limits the requests of a caller is taken."""

    BEFORE = enum.auto()
    """Before the work is done."""
    MEANWHILE = enum.auto()
    """While the work is done, where there was plenty of room; a caller that is refused gets nothing
    of its result. For work that changes nothing and ends soon."""
    INSIDE = enum.auto()
    """By the work itself, in one trip with what limits its tokens (`take_due`, `Metering.reserve`);
    at its end where it fails before."""


class Passage(Protocol):
    """Told what becomes known of a request on its way in, even if it gets no further."""

    caller: Caller | None
    draft: Draft | None
    pending: Pending | None
    decision: Decision | None
    tokens: TokenLevel | None


@dataclass(frozen=True, slots=True)
class Limits:
    """What limits requests.

    Attributes:
        limiter: takes from the buckets of rates.
        slots: holds the slots of callers that may only have so many requests in flight.
        tenants: what is set for tenants, where anything is.
        key_rate: of a caller on each target, where its key says nothing; None for no limit.
        tenant_rate: of all keys of a tenant together, where nothing is set; None for no limit.
    """

    limiter: Limiter
    slots: Slots
    tenants: RecordCache[Tenant]
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
        self.in_flight = in_flight
        self.limiter = limits.limiter
        self._limits = limits
        self._drafts: OrderedDict[tuple[Caller, Target, Rate | None], Draft | None] = OrderedDict()

    def admit(
        self, presented: str | None, target: Target, passage: Passage, takes: Takes = Takes.BEFORE
    ) -> AbstractAsyncContextManager[Caller]:
        """Lets a request in and makes its caller the one at hand inside.

        Args:
            presented: the API key or token that the caller sent, if any.
            target: what it wants.
            passage: told what becomes known.
            takes: when what limits its requests is taken.

        Raises (on entering, or on leaving what is not taken before):
            Unauthenticated: the key is missing, or not valid.
            PermissionDenied: it may not do this.
            Overloaded: too many requests are in flight.
            QuotaExceeded: a limit of the caller or of its tenant is reached.
            Unavailable: nobody can say whether the key is valid.
        """
        return _Admitted(self, presented, target, passage, takes)

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
        caller = self._authenticator.known(presented)
        if caller is None:
            caller = await self._authenticator.authenticate(presented)
        if not scopes.allows(caller.scopes, target.service, target.verb):
            raise PermissionDenied(
                f"{caller.key_id} may not do {target}; use a key with that scope "
                f"(`mesh keys create NAME --scope {target}`)",
                reason="SCOPE_MISSING",
            )
        return caller

    def slot(self, caller: Caller) -> AbstractAsyncContextManager[None] | None:
        """The slot of a request of the caller; None where it may have any number in flight."""
        if caller.max_concurrent is None:
            return None
        name = f"{names.REDIS_SLOTS}:{{{caller.tenant}}}:{caller.key_id}"
        return self._limits.slots.hold(
            name, f"key:{caller.key_id}", caller.max_concurrent, lease_s()
        )

    async def take(self, caller: Caller, target: Target, passage: Passage, takes: Takes) -> None:
        """Finds what a request takes from the limits of its caller, and takes it or begins to.

        Raises:
            QuotaExceeded: one of them has not enough.
        """
        passage.draft = draft = await self._draft(caller, target)
        if takes is Takes.MEANWHILE and draft:
            passage.pending = self.limiter.ahead(draft)
        if takes is not Takes.INSIDE and passage.pending is None:
            await take_due(self.limiter, passage)

    async def _draft(self, caller: Caller, target: Target) -> Draft | None:
        """What a request of the caller takes; None where nothing limits it."""
        limits = self._limits
        if fresh := limits.tenants.fresh(caller.tenant):
            tenant = fresh.record
        else:
            tenant = await self._tenant(caller.tenant)
        rate = (tenant.rate if tenant else None) or limits.tenant_rate
        known = (caller, target, rate)
        try:
            return self._drafts[known]
        except KeyError:
            made = _draft(caller, target, caller.rate or limits.key_rate, rate)
        self._drafts[known] = made
        if len(self._drafts) > _MOST_DRAFTS:
            self._drafts.popitem(last=False)
        return made

    async def _tenant(self, name: str) -> Tenant | None:
        try:
            return await self._limits.tenants.get(name)
        except Unavailable:  # what is set for it is not known, so what holds for all does
            return None


class _Admitted:
    """One request inside; a generator would take longer than most of what is done here."""

    __slots__ = (
        "_admission",
        "_caller",
        "_passage",
        "_presented",
        "_request",
        "_slot",
        "_takes",
        "_target",
    )

    def __init__(
        self,
        admission: Admission,
        presented: str | None,
        target: Target,
        passage: Passage,
        takes: Takes,
    ) -> None:
        self._takes = takes
        self._admission = admission
        self._presented = presented
        self._target = target
        self._passage = passage
        self._slot: AbstractAsyncContextManager[None] | None = None
        self._request: context.scope | None = None

    async def __aenter__(self) -> Caller:
        admission, passage = self._admission, self._passage
        admission.in_flight.take()
        try:
            caller = self._caller = await admission.authorize(self._presented, self._target)
            passage.caller = caller
            admission.in_flight.claim(caller.key_id)
        except BaseException:
            admission.in_flight.give_back()
            raise
        try:
            if slot := admission.slot(caller):
                await slot.__aenter__()
                self._slot = slot
            await admission.take(caller, self._target, passage, self._takes)
        except BaseException:
            await self._leave(*sys.exc_info())
            raise
        self._request = context.scope(_of(caller))
        self._request.__enter__()
        return caller

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        try:
            if self._request is not None:
                self._request.__exit__()
                await self._settle(error)
        finally:
            await self._leave(kind, error, where)

    async def _settle(self, error: BaseException | None) -> None:
        """Takes what is not taken yet; a bad request counts too."""
        passage, pending = self._passage, self._passage.pending
        if isinstance(error, MeshError) or (pending and error is None):
            await take_due(self._admission.limiter, passage)
        elif pending and pending.done():
            passage.decision = pending.result()

    async def _leave(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        try:
            if self._passage.pending:
                self._passage.pending.cancel()
            if self._slot is not None:
                await self._slot.__aexit__(kind, error, where)
        finally:
            self._admission.in_flight.release(self._caller.key_id)
            self._admission.in_flight.give_back()


async def take_due(limiter: Limiter, passage: Passage) -> None:
    """Takes what limits a request, unless that was done.

    Raises:
        QuotaExceeded: a limit of the caller or of its tenant is reached.
    """
    if passage.draft and passage.decision is None:
        passage.decision = await (passage.pending or limiter.take(passage.draft))
        check(passage.draft, passage.decision)


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
