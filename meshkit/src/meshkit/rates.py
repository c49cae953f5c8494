"""Rates that callers may have, as people write them: `600/m`."""

import re
from dataclasses import dataclass
from typing import Final, Self

from meshkit.errors import InvalidArgument

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_UNITS: Final = {"s": "second", "m": "minute", "h": "hour", "d": "day"}
_FORM: Final = re.compile(r"([1-9][0-9]{0,8})/([smhd])(?::([1-9][0-9]{0,8}))?")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests in a time, and so many at once.

    What passes in any stretch of time is at most `burst` + `requests` / `period_s` x the time.

    Attributes:
        requests: how many in each period.
        unit: the period: `s`, `m`, `h` or `d`.
        burst: how many at once, after a rest.
    """

    requests: int
    unit: str
    burst: int

    @classmethod
    def parse(cls, text: str, field: str) -> Self:
        """Reads `600/m`, or `600/m:50` with a burst; without, all of a period may come at once.

        Args:
            text: what was written.
            field: what it was written for, for the error.

        Raises:
            InvalidArgument: it is no rate; names the field.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise InvalidArgument.of_field(
                field,
                f"is {text[:40]!r} and should be a rate such as 10/s, 600/m:50 (50 at once), "
                "10000/h or 100000/d",
            )
        return cls(int(match[1]), match[2], int(match[3] or match[1]))

    @property
    def period_s(self) -> int:
        """Seconds of the period."""
        return _SECONDS[self.unit]

    @property
    def interval_us(self) -> float:
        """Microseconds after which one more request may come."""
        return self.period_s * 1e6 / self.requests

    def share(self, of: int) -> "Rate":
        """The part of it that one of so many processes may let through by itself."""
        return Rate(max(1, self.requests // of), self.unit, max(1, self.burst // of))

    def __str__(self) -> str:
        """As `parse` reads it."""
        return f"{self.requests}/{self.unit}:{self.burst}"

    @property
    def described(self) -> str:
        """For people."""
        return self.describe("requests")

    def describe(self, what: str) -> str:
        """For people, where it counts something else than requests."""
        return f"{self.requests} {what} a {_UNITS[self.unit]}, {self.burst} at once"
