"""Which token limits and budgets a request of a caller comes under."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mesh_gateway.caller import Caller
from mesh_gateway.token_bounds import Bound
from meshkit import money, names
from meshkit.allowance import NO_ALLOWANCE, Allowance, Budget, Period
from meshkit.errors import BUDGET, TOKEN_LIMIT, QuotaExceeded, QuotaViolation, Unavailable
from meshkit.key_records import Tenant
from meshkit.prices import Price, Prices
from meshkit.rates import Rate
from meshkit.reservations import Account, Kind, Level

_MOST_PLANS: Final = 10_000
# A shorter answer is none: the request is refused and comes back later.
_LEAST_ANSWER: Final = 256
_KINDS: Final = {Period.DAY: Kind.DAY, Period.MONTH: Kind.MONTH}


@dataclass(frozen=True, slots=True)
class TokenLevel:
    """How full a limit of tokens is.

    Attributes:
        limit: tokens that it holds when it is full.
        remaining: tokens left, what is reserved taken off.
        reset_s: seconds until it is full, if what is reserved is used.
    """

    limit: int
    remaining: int
    reset_s: float


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of tokens or of money.

    Attributes:
        account: what counts it.
        policy: which kind of limit it is, as headers and errors name it.
        subject: whose it is, such as `key:a1b2c3`.
        described: what it is, for people.
        soft: from which use on callers are warned; None where they never are.
    """

    account: Account
    policy: str
    subject: str
    described: str
    soft: int | None = None

    @property
    def does(self) -> str:
        """What is done with it."""
        return "spend" if self.account.is_money else "use"


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What limits the requests of a caller to a model.

    Attributes:
        tenant: whose accounts they are.
        limits: of tokens, and of money.
        price: of the model's tokens.
        currency: that prices and budgets are in.
    """

    tenant: str
    limits: tuple[Limit, ...]
    price: Price
    currency: str

    def fitted(self, bound: Bound) -> Bound:
        """The bound, cut to what its limits hold when they are whole.

        Raises:
            QuotaExceeded: the request says itself that it may use more than that.
        """
        whole = [Level(each.account.most, 0.0, 0.0) for each in self.limits]
        fitted = bound.within(self._most(bound, whole))
        if fitted is not None:
            return fitted
        short = [each for each, _ in self._short(bound, whole)]
        said = " and ".join(f"{each.subject} may {each.does} {each.described}" for each in short)
        raise QuotaExceeded(
            f"the request is too large for its limit: {said}, and it may use {bound.total} tokens "
            f"(up to {bound.prompt} of the prompt and {bound.completion} of the answer, "
            f"{self._cost(bound)}); send less, or a smaller max_tokens",
            reason=BUDGET if all(each.account.is_money for each in short) else TOKEN_LIMIT,
            quotas=_violations(short),
            retryable=False,
        )

    def cut(self, bound: Bound, levels: Sequence[Level]) -> Bound | None:
        """The bound, cut to what its limits have left; None where that is too little to answer."""
        smaller = bound.within(self._most(bound, levels)) if bound.most_each else None
        worth = min(_LEAST_ANSWER, bound.most_each)
        return smaller if smaller is not None and smaller.most_each >= worth else None

    def _most(self, bound: Bound, levels: Sequence[Level]) -> int:
        """Most tokens that a request may use by all of its limits; never more than its bound."""
        most = bound.total
        for limit, level in zip(self.limits, levels, strict=True):
            if not limit.account.is_money:
                most = min(most, level.left)
            elif (answer := self.price.completion_for(level.left, bound.prompt)) is not None:
                most = min(most, bound.prompt + answer)
        return most

    def _short(self, bound: Bound, levels: Sequence[Level]) -> list[tuple[Limit, Level]]:
        pairs = zip(self.limits, levels, strict=True)
        return [each for each in pairs if each[1].left < self.amount(each[0], bound)]

    def _cost(self, bound: Bound) -> str:
        amount = self.price.nanos(bound.prompt, 0, bound.completion)
        return f"{money.described(amount)} {self.currency}"

    def amount(self, limit: Limit, bound: Bound) -> int:
        """What a request takes of one of the limits at the most."""
        if limit.account.is_money:
            return self.price.nanos(bound.prompt, 0, bound.completion)
        return bound.total

    def refusal(self, bound: Bound, levels: Sequence[Level]) -> QuotaExceeded:
        """The error of a request that its limits have no room for."""
        short = self._short(bound, levels)
        if budgets := [each for each in short if each[0].account.is_money]:
            return self._over_budget(bound, budgets)
        wait_s = max((level.fits_s for _, level in short), default=0.0)
        said = " and ".join(
            f"{limit.subject} may use {limit.described}, and has {level.left} left"
            for limit, level in short
        )
        return QuotaExceeded(
            f"the limit of tokens is reached: {said}; the request may use {bound.total}; try again "
            f"in {wait_s:.3f} s, or send a smaller max_tokens",
            reason=TOKEN_LIMIT,
            quotas=_violations([limit for limit, _ in short]),
            retry_delay_s=wait_s,
        )

    def _over_budget(self, bound: Bound, short: Sequence[tuple[Limit, Level]]) -> QuotaExceeded:
        wait_s = max(level.fits_s for _, level in short)
        said = " and ".join(
            f"{limit.subject} may spend {limit.described}, and has "
            f"{money.described(level.left)} left"
            for limit, level in short
        )
        return QuotaExceeded(
            f"the budget has no room for this request: {said}, and it may cost "
            f"{self._cost(bound)}; send a smaller max_tokens, have the budget raised, or wait "
            f"{wait_s:.0f} s",
            reason=BUDGET,
            quotas=_violations([limit for limit, _ in short]),
            retry_delay_s=wait_s,
            retryable=False,
        )

    def tightest(self, levels: Sequence[Level]) -> TokenLevel | None:
        """The level of the token limit that has the least left; None where none limits tokens."""
        found = (
            TokenLevel(limit.account.most, level.left, level.whole_s)
            for limit, level in zip(self.limits, levels, strict=True)
            if not limit.account.is_money
        )
        return min(found, key=lambda level: level.remaining, default=None)

    def warnings(self, levels: Sequence[Level]) -> tuple[str, ...]:
        """The budgets past their soft limit, with the share that is gone: `key:a1b2c3 day 0.83`."""
        pairs = zip(self.limits, levels, strict=True)
        return tuple(
            f"{limit.subject} {limit.account.kind} {gone / limit.account.most:.2f}"
            for limit, gone in ((each, each.account.most - level.left) for each, level in pairs)
            if limit.soft is not None and gone >= limit.soft
        )


class Plans:
    """Finds the limits of callers, and remembers them.

    Args:
        tenant: what is set for a tenant; None where nothing is.
        prices: of models.
        key_rate: most tokens of a key, where nothing is set for it; None for no limit.
        tenant_rate: most tokens of all keys of a tenant, where nothing is set; None for no limit.
    """

    def __init__(
        self,
        tenant: Callable[[str], Awaitable[Tenant | None]],
        prices: Prices,
        *,
        key_rate: Rate | None,
        tenant_rate: Rate | None,
    ) -> None:
        self._tenant = tenant
        self._prices = prices
        self._key_rate = key_rate
        self._tenant_rate = tenant_rate
        self._known: OrderedDict[tuple[Caller, str, int], tuple[Tenant | None, Plan]] = (
            OrderedDict()
        )

    async def of(self, caller: Caller, model: str) -> Plan:
        """What limits a request of the caller to a model."""
        try:
            tenant = await self._tenant(caller.tenant)
        except Unavailable:  # what is set for it is not known, so what holds for all does
            tenant = None
        known = (caller, model, id(tenant))
        found = self._known.get(known)
        # The tenant itself is kept, so that no other gets its id.
        if found is None:
            found = tenant, self._made(caller, model, tenant.allowance if tenant else NO_ALLOWANCE)
            self._known[known] = found
            if len(self._known) > _MOST_PLANS:
                self._known.popitem(last=False)
        return found[1]

    def _made(self, caller: Caller, model: str, allowance: Allowance) -> Plan:
        # The tenant is the hash tag: all accounts of a request lie in one slot of a Redis Cluster.
        tag = f"{{{caller.tenant}}}"
        key = f"key:{caller.key_id}"
        limits = (
            *_tokens(f"{tag}:{key}", "key", key, caller.allowance, self._key_rate, model),
            *_tokens(
                f"{tag}:tenant",
                "tenant",
                f"tenant:{caller.tenant}",
                allowance,
                self._tenant_rate,
                model,
            ),
            *_budgets(f"{tag}:{key}", "key", key, caller.allowance.budgets),
            *_budgets(f"{tag}:tenant", "tenant", f"tenant:{caller.tenant}", allowance.budgets),
        )
        return Plan(caller.tenant, limits, self._prices.of(model), self._prices.currency)


def _tokens(
    place: str, whose: str, subject: str, allowance: Allowance, default: Rate | None, model: str
) -> Iterator[Limit]:
    if rate := allowance.token_rate or default:
        yield _of_rate(f"{place}:", f"{whose}-tokens", subject, rate, "tokens")
    if rate := allowance.model_token_rates.get(model):
        what = f"tokens of {model}"
        yield _of_rate(f"{place}:{model}", f"{whose}-model-tokens", subject, rate, what)


def _of_rate(place: str, policy: str, subject: str, rate: Rate, what: str) -> Limit:
    account = Account(Kind.TOKENS, f"{names.REDIS_TOKENS}:{place}", rate.burst, rate.interval_us)
    return Limit(account, policy, subject, rate.describe(what))


def _budgets(place: str, whose: str, subject: str, budgets: Sequence[Budget]) -> Iterator[Limit]:
    for budget in budgets:
        kind = _KINDS[budget.period]
        account = Account(kind, f"{names.REDIS_BUDGET}:{place}:{budget.period}", budget.nanos)
        policy = f"{whose}-budget-{budget.period}"
        yield Limit(account, policy, subject, budget.described, budget.soft_nanos)


def _violations(limits: Sequence[Limit]) -> list[QuotaViolation]:
    return [QuotaViolation(each.policy, each.subject, each.described) for each in limits]
