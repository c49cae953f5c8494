"""Amounts of money: whole numbers of billionths, so that sums are exact."""

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

NANOS: Final = 10**9
"""Parts of one unit of the currency."""


def nanos(amount: Decimal) -> int:
    """An amount in units of the currency as billionths, rounded to the nearest one."""
    return int((amount * NANOS).to_integral_value(ROUND_HALF_EVEN))


def described(amount_nanos: int) -> str:
    """An amount for people, in units of the currency: two decimals at least, six at most."""
    whole = (Decimal(amount_nanos) / NANOS).quantize(Decimal("0.000001"))
    text = f"{whole:f}".rstrip("0")
    decimals = len(text.partition(".")[2])
    return text + "0" * max(0, 2 - decimals)
