"""How many calls may be repeated: a part of those that are made, so that an outage stays one.

Source: the retry budget of Finagle and of the SRE book, chapter "Handling Overload".
"""

from typing import Final

_PART: Final = 0.1
_MOST: Final = 10.0


class RetryBudget:
    """Every call puts a tenth of a repetition in, and a repetition takes one out."""

    def __init__(self) -> None:
        self._balance = _MOST

    def deposit(self) -> None:
        """Says that a call is made."""
        self._balance = min(self._balance + _PART, _MOST)

    def spend(self) -> bool:
        """Whether a call may be repeated now."""
        if self._balance < 1:
            return False
        self._balance -= 1
        return True
