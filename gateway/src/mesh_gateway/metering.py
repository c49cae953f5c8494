"""Token limits and budgets: what a request may use is reserved, what it has used is settled.

A request costs two trips to Redis, each shared with those that come at the same time: one takes
from the limits of requests and reserves tokens and money, the other settles when it has ended.
Where tokens and money are not limited, there is no second one; where a request does not say how
much it wants and its limits have less than it might use, one more takes what there is.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

from mesh_gateway import buckets
from mesh_gateway.admission import Passage, take_due
from mesh_gateway.buckets import Decision, Draft, check
from mesh_gateway.caller import Caller
from mesh_gateway.leases import lease_s
from mesh_gateway.limiter import Limiter
from mesh_gateway.lone_accounts import LoneAccounts
from mesh_gateway.token_bounds import Bound
from mesh_gateway.token_limits import Plan, Plans, TokenLevel
from meshkit import context, names, telemetry
from meshkit.context import RequestContext
from meshkit.errors import BUDGET, QuotaExceeded, Unavailable
from meshkit.ledger import Source, Usage
from meshkit.ledger_writer import LedgerWriter
from meshkit.names import ReservationOutcome
from meshkit.rates import Rate
from meshkit.reservations import (
    Account,
    Kind,
    Level,
    Reservations,
    Ticket,
    Used,
    Verdict,
    new_id,
)
from meshkit.settling import Settler

_MOST_WARNED: Final = 10_000
_log = logging.getLogger(__name__)
_reserved = telemetry.counter(
    names.TOKEN_RESERVATIONS, "{request}", "Requests under token limits or budgets, by outcome."
)
_warned = telemetry.counter(
    names.BUDGET_WARNINGS, "{request}", "Requests under a budget that is past its soft limit."
)


class _Sampling(Protocol):
    max_tokens: int


class Capped(Protocol):
    """A request for a generation."""

    @property
    def sampling(self) -> _Sampling:
        """How its tokens are chosen."""


@dataclass(slots=True)
class Reservation:
    """What a request has reserved. Leaving its block settles it, however it is left.

    Attributes:
        bound: the most that it may use.
        warnings: budgets that are past their soft limit, such as `key:a1b2c3 day 0.83`.
        usage: what it has used so far.
        cut: whether it is less than the request may use by itself.
    """

    bound: Bound
    warnings: tuple[str, ...] = ()
    usage: Used = field(default_factory=Used)
    cut: bool = False

    def used(
        self, prompt_tokens: int, completion_tokens: int, cached_prompt_tokens: int = 0
    ) -> None:
        """Says what the request has used so far: cumulative, so that the last word counts."""
        self.usage = Used(prompt_tokens, completion_tokens, cached_prompt_tokens)

    def cap(self, request: Capped) -> None:
        """Makes a request that does not say its most tokens keep to what is reserved for it."""
        if self.cut:
            request.sampling.max_tokens = self.bound.most_each

    def headers(self) -> Iterator[tuple[str, str]]:
        """What callers are told on every route: that a budget runs out."""
        if self.warnings:
            yield names.BUDGET_WARNING, ", ".join(self.warnings)


class Metering:
    """Reserves and settles.

    Args:
        plans: say what limits a request.
        reservations: in Redis.
        settler: settles them.
        ledger: written to for what no service answers.
        limiter: of requests.
        replicas: how many gateways there are, for the time when Redis can't be reached.
    """

    def __init__(
        self,
        plans: Plans,
        reservations: Reservations,
        settler: Settler,
        ledger: LedgerWriter,
        limiter: Limiter,
        *,
        replicas: int,
    ) -> None:
        self._plans = plans
        self._reservations = reservations
        self._settler = settler
        self._ledger = ledger
        self._limiter = limiter
        self._alone = LoneAccounts(replicas)
        self._told: OrderedDict[str, None] = OrderedDict()

    @asynccontextmanager
    async def reserve(
        self, caller: Caller, model: str, bound: Bound, passage: Passage
    ) -> AsyncIterator[Reservation]:
        """Reserves the most that a request may use, for as long as the block lasts.

        Args:
            caller: who asks.
            model: which model is to answer.
            bound: the most that it may use.
            passage: what is known of the request; what limits requests is taken now, if it is due.

        Raises:
            QuotaExceeded: a limit of requests, a token limit (reason TOKEN_LIMIT) or a budget
                (reason BUDGET) has no room for it.
        """
        plan = await self._plans.of(caller, model)
        passage.tokens = None  # those of another model, which was asked before
        if not plan.limits:
            await take_due(self._limiter, passage)
            yield Reservation(bound)
            return
        due = passage.decision is None
        try:
            fitted = plan.fitted(bound)
        except QuotaExceeded:
            passage.tokens = await self._look(plan)
            raise
        ticket = _ticket(plan, fitted)
        verdict, alone = await self._decide(ticket, passage)
        if not verdict.passed and not alone and (cut := plan.cut(fitted, verdict.levels)):
            # It does not say how much it wants, so it gets what there is.
            if due:
                passage.decision = None
            fitted, ticket = cut, _ticket(plan, cut)
            verdict, alone = await self._decide(ticket, passage)
        passage.tokens = plan.tightest(verdict.levels)
        outcome = _outcome(passed=verdict.passed, alone=alone)
        if not verdict.passed:
            refusal = plan.refusal(fitted, verdict.levels)
            if refusal.reason == BUDGET and not alone:
                outcome = ReservationOutcome.REFUSED_BUDGET
            _reserved.add(1, {names.RESERVATION_OUTCOME: outcome})
            raise refusal
        _reserved.add(1, {names.RESERVATION_OUTCOME: outcome})
        reservation = Reservation(fitted, plan.warnings(verdict.levels), cut=fitted is not bound)
        self._warn(reservation.warnings)
        try:
            with context.scope(_under(ticket)):
                yield reservation
        finally:
            if alone:
                self._alone.settle(ticket, reservation.usage)
            self._settler.add(ticket, reservation.usage)

    async def cached(self, caller: Caller, model: str, used: Used, passage: Passage) -> None:
        """Writes an answer from the prompt cache into the ledger; its tokens are not charged.

        Args:
            caller: who asked.
            model: which had answered.
            used: what that answer had used.
            passage: what is known of the request; what limits requests is taken now, if it is due.

        Raises:
            QuotaExceeded: a limit of requests is reached.
        """
        await take_due(self._limiter, passage)
        usage = Usage(
            requests=1,
            prompt_tokens=used.prompt,
            cached_tokens=used.cached_prompt,
            completion_tokens=used.completion,
        )
        self._ledger.add(caller.tenant, caller.key_id, model, Source.CACHED, usage)

    async def _look(self, plan: Plan) -> TokenLevel | None:
        """How full the limits of tokens are, for who is refused; None where that is not known."""
        if all(each.account.is_money for each in plan.limits):
            return None
        # More than they ever hold, so that it takes nothing.
        holds = tuple((each.account, each.account.most + 1) for each in plan.limits)
        ticket = Ticket(plan.tenant, new_id(), holds, plan.price)
        try:
            verdict = await self._reservations.reserve(ticket, lease_s())
        except Unavailable:
            return None
        return plan.tightest(verdict.levels)

    async def _decide(self, ticket: Ticket, passage: Passage) -> tuple[Verdict, bool]:
        """The verdict, and whether it is this gateway's alone."""
        draft = passage.draft if passage.decision is None else None
        if draft and (refusal := self._limiter.refused(draft)):
            passage.decision = refusal
            check(draft, refusal)
        try:
            return await self._in_one_trip(ticket, draft, passage), False
        except Unavailable:
            return await self._decide_alone(ticket, passage), True
        except asyncio.CancelledError:
            self._settler.add(ticket, Used())
            raise

    async def _decide_alone(self, ticket: Ticket, passage: Passage) -> Verdict:
        # It may have been reserved in Redis all the same, which settling undoes.
        try:
            await take_due(self._limiter, passage)
        except QuotaExceeded:
            self._settler.add(ticket, Used())
            raise
        verdict = self._alone.reserve(ticket)
        if not verdict.passed:
            self._settler.add(ticket, Used())
        return verdict

    async def _in_one_trip(self, ticket: Ticket, draft: Draft | None, passage: Passage) -> Verdict:
        taken = draft.buckets if draft else ()
        requests = [
            Account(Kind.REQUESTS, each.name, each.rate.burst, each.rate.interval_us)
            for each in taken
        ]
        sent_s = self._limiter.now_s
        verdict = await self._reservations.reserve(ticket, lease_s(), requests)
        if draft:
            decision = _decision(draft, verdict)
            if verdict.passed or not decision.passed:
                self._limiter.heard(draft, sent_s, decision)
            passage.decision = decision
            check(draft, decision)
        return Verdict(verdict.passed, verdict.levels[len(taken) :])

    def _warn(self, warnings: tuple[str, ...]) -> None:
        if not warnings:
            return
        _warned.add(1)
        for warning in warnings:
            budget = warning.rpartition(" ")[0]
            if budget not in self._told:
                _log.warning("a budget is past its soft limit: %s", warning)
                self._told[budget] = None
                if len(self._told) > _MOST_WARNED:
                    self._told.popitem(last=False)


def _ticket(plan: Plan, bound: Bound) -> Ticket:
    holds = tuple((each.account, plan.amount(each, bound)) for each in plan.limits)
    return Ticket(plan.tenant, new_id(), holds, plan.price)


def _decision(draft: Draft, verdict: Verdict) -> Decision:
    """What a verdict says of the limits of requests."""
    levels = verdict.levels[: len(draft.buckets)]
    # Where they have room the rest was refused, and nothing was taken.
    passed = verdict.passed or all(level.left >= draft.cost for level in levels)
    return Decision(
        passed,
        0.0 if passed else max(level.fits_s for level in levels),
        tuple(
            _until_one_more(bucket.rate, level)
            for bucket, level in zip(draft.buckets, levels, strict=True)
        ),
    )


def _until_one_more(rate: Rate, level: Level) -> buckets.Level:
    if level.left >= rate.burst:
        return buckets.Level(level.left, 0.0)
    others_s = (rate.burst - level.left - 1) * rate.interval_us / 1e6
    return buckets.Level(level.left, max(0.0, level.whole_s - others_s))


def _under(ticket: Ticket) -> RequestContext:
    """The request at hand, under its reservation."""
    return (context.current() or RequestContext(""))._replace(reservation=ticket.id)


def _outcome(*, passed: bool, alone: bool) -> ReservationOutcome:
    if alone:
        return ReservationOutcome.PASSED_ALONE if passed else ReservationOutcome.REFUSED_ALONE
    return ReservationOutcome.PASSED if passed else ReservationOutcome.REFUSED_TOKENS
