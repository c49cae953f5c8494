"""What a key or a tenant may use of what is metered: tokens in a time, money in a period."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Self

from meshkit import money
from meshkit.errors import InvalidArgument
from meshkit.rates import Rate

_AMOUNT: Final = r"[0-9]{1,6}(?:\.[0-9]{1,6})?"
_FORM: Final = re.compile(rf"({_AMOUNT})/(day|month)(?::({_AMOUNT}))?")
_SOFT_SHARE: Final = Decimal("0.8")
_MODEL: Final = re.compile(r"[^=\s]{1,128}")


class Period(StrEnum):
    """How long a budget lasts: a day or a month of the calendar, in UTC."""

    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Budget:
    """Money for a period.

    Attributes:
        nanos: billionths of the currency after which requests are refused.
        period: after which it is there again.
        soft_nanos: after how many callers are warned.
    """

    nanos: int
    period: Period
    soft_nanos: int

    @classmethod
    def parse(cls, text: str, field: str) -> Self:
        """Reads `20/month`, or `20/month:15` with a warning from 15 on; without, from 80% on.

        Args:
            text: what was written.
            field: what it was written for, for the error.

        Raises:
            InvalidArgument: it is no budget; names the field.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise InvalidArgument.of_field(
                field,
                f"is {text[:40]!r} and should be a budget such as 5/day, 20.50/month or "
                "20/month:15 (a warning from 15 on)",
            )
        amount = Decimal(match[1])
        soft = Decimal(match[3]) if match[3] else amount * _SOFT_SHARE
        if soft > amount:
            raise InvalidArgument.of_field(
                field, f"is {text!r}, which warns after it ends; put the smaller amount last"
            )
        return cls(money.nanos(amount), Period(match[2]), money.nanos(soft))

    def __str__(self) -> str:
        """As `parse` reads it."""
        amounts = (money.described(self.nanos), money.described(self.soft_nanos))
        return f"{amounts[0]}/{self.period}:{amounts[1]}"

    @property
    def described(self) -> str:
        """For people."""
        return f"{money.described(self.nanos)} a {self.period}"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is set for a key or a tenant.

    Attributes:
        token_rate: most tokens of all models together; None for the gateway's default.
        model_token_rates: most tokens of single models, by their names.
        budgets: at most one a period.
    """

    token_rate: Rate | None = None
    model_token_rates: Mapping[str, Rate] = field(default_factory=dict)
    budgets: tuple[Budget, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything is set."""
        return bool(self.token_rate or self.model_token_rates or self.budgets)

    @classmethod
    def parse(cls, token_rates: Iterable[str], budgets: Iterable[str]) -> Self:
        """Reads what a command line says.

        Args:
            token_rates: `60000/m` for all models together, `llm=20000/m` for one.
            budgets: as `Budget.parse` reads them.

        Raises:
            InvalidArgument: one can't be read, or is there twice; names the option.
        """
        field = "--token-rate"
        together: Rate | None = None
        by_model: dict[str, Rate] = {}
        for text in token_rates:
            model, _, rate = text.rpartition("=")
            if (model in by_model) if model else (together is not None):
                raise InvalidArgument.of_field(field, f"{text!r} is there twice; say it once")
            if not model:
                together = Rate.parse(rate, field)
            elif _MODEL.fullmatch(model):
                by_model[model] = Rate.parse(rate, field)
            else:
                raise InvalidArgument.of_field(field, f"{text[:40]!r} names no model")
        read = tuple(Budget.parse(text, "--budget") for text in budgets)
        if len({each.period for each in read}) < len(read):
            raise InvalidArgument.of_field("--budget", "names a period twice; say each once")
        return cls(together, by_model, read)

    def to_text(self) -> str:
        """As it is stored."""
        content: dict[str, Any] = {}
        if self.token_rate:
            content["token_rate"] = str(self.token_rate)
        if self.model_token_rates:
            rates = {model: str(rate) for model, rate in self.model_token_rates.items()}
            content["model_token_rates"] = rates
        if self.budgets:
            content["budgets"] = [str(each) for each in self.budgets]
        return json.dumps(content, sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The inverse of `to_text`.

        Raises:
            InvalidArgument: a part of it can't be read.
            ValueError: it is no JSON object.
        """
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError("an allowance is a JSON object")
        rate = content.get("token_rate")
        rates = content.get("model_token_rates", {})
        budgets = content.get("budgets", [])
        return cls(
            Rate.parse(rate, "token_rate") if rate else None,
            {model: Rate.parse(each, "model_token_rates") for model, each in rates.items()},
            tuple(Budget.parse(each, "budgets") for each in budgets),
        )

    @property
    def described(self) -> str:
        """For people; empty where nothing is set."""
        parts = [self.token_rate.describe("tokens")] if self.token_rate else []
        parts += [
            f"{rate.describe('tokens')} of {model}"
            for model, rate in self.model_token_rates.items()
        ]
        return ", ".join([*parts, *(each.described for each in self.budgets)])


NO_ALLOWANCE: Final = Allowance()
"""Where nothing is set."""
