"""Accounts of this gateway alone, for the time when Redis can't be reached."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from meshkit.reservations import Account, Level, Ticket, Used, Verdict

_MOST: Final = 100_000
_US: Final = 1e6
_DAY_S: Final = 86_400


@dataclass(slots=True)
class _State:
    """What was used and is reserved of an account."""

    full_at_us: float = 0.0
    spent: int = 0
    period: str = ""
    open: int = 0


class LoneAccounts:
    """Lets this gateway's share of each account through; the least used are forgotten first.

    What it lets through is settled in Redis later. Of a budget it knows nothing but its own share.

    Args:
        replicas: how many gateways share an account.
        clock: seconds since 1970.
    """

    def __init__(self, replicas: int, clock: Callable[[], float] = time.time) -> None:
        self._replicas = replicas
        self._clock = clock
        self._states: OrderedDict[str, _State] = OrderedDict()

    def reserve(self, ticket: Ticket) -> Verdict:
        """Reserves; a request that wants more than a share holds takes all of it."""
        now_us = self._clock() * _US
        levels = [self._level(account, amount, now_us) for account, amount in ticket.holds]
        passed = all(level.fits_s == 0 for level in levels)
        if passed:
            for account, amount in ticket.holds:
                self._state(account).open += self._amount(account, amount)
        return Verdict(passed, tuple(levels))

    def settle(self, ticket: Ticket, used: Used) -> None:
        """Puts what was used in the place of what was reserved."""
        now_us = self._clock() * _US
        cost = ticket.price.nanos(used.prompt, used.cached_prompt, used.completion)
        for account, amount in ticket.holds:
            state = self._state(account)
            state.open = max(0, state.open - self._amount(account, amount))
            if account.is_money:
                state.spent += cost
            else:
                tokens = used.prompt + used.completion
                interval_us = account.interval_us * self._replicas
                state.full_at_us = max(now_us, state.full_at_us) + tokens * interval_us

    def _state(self, account: Account) -> _State:
        state = self._states.setdefault(account.key, _State())
        self._states.move_to_end(account.key)
        if len(self._states) > _MOST:
            self._states.popitem(last=False)
        if account.is_money and state.period != (period := self._period(account)):
            state.period, state.spent = period, 0
        return state

    def _period(self, account: Account) -> str:
        moment = time.gmtime(self._clock())
        return time.strftime("%Y-%m-%d" if account.kind == "day" else "%Y-%m", moment)

    def _share(self, account: Account) -> int:
        return max(1, account.most // self._replicas)

    def _amount(self, account: Account, amount: int) -> int:
        return min(amount, self._share(account))

    def _level(self, account: Account, amount: int, now_us: float) -> Level:
        state, most = self._state(account), self._share(account)
        wanted = self._amount(account, amount)
        if account.is_money:
            left = most - state.spent - state.open
            return Level(max(0, left), _DAY_S, 0.0 if wanted <= left else _DAY_S)
        interval_us = account.interval_us * self._replicas
        used = max(0.0, state.full_at_us - now_us) / interval_us + state.open
        late = used + wanted - most
        fits_s = max(0.0, late - 1e-6) * interval_us / _US
        return Level(max(0, int(most - used)), used * interval_us / _US, fits_s)
