"""A caller that has proved who it is, however it did."""

from dataclasses import dataclass

from meshkit.allowance import NO_ALLOWANCE, Allowance
from meshkit.rates import Rate


@dataclass(frozen=True, slots=True, eq=False)
class Caller:
    """Who calls. Equal only to itself, so that it costs little as a key.

    Attributes:
        key_id: the public id of its key, or `jwt:` and the subject of its token.
        tenant: whom its calls belong to.
        scopes: what it may do (`meshkit.scopes`).
        rate: most requests on each route; None for the gateway's default.
        max_concurrent: most requests in flight; None for no limit of its own.
        allowance: most tokens and money.
    """

    key_id: str
    tenant: str
    scopes: frozenset[str]
    rate: Rate | None = None
    max_concurrent: int | None = None
    allowance: Allowance = NO_ALLOWANCE
