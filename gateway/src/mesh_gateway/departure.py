"""That the caller of a request has left, from the server to whoever wants to know."""

from collections.abc import Callable
from typing import Final

from starlette.types import Scope

_SCOPE_KEY: Final = "mesh.departure"


class Departure:
    """The leaving of one caller, which may happen before its response is complete."""

    __slots__ = ("_happened", "_then")

    def __init__(self) -> None:
        self._happened = False
        self._then: Callable[[], object] | None = None

    @classmethod
    def of(cls, scope: Scope) -> "Departure":
        """That of the caller of a request; it never happens where the server tells nothing."""
        departure: Departure = scope.setdefault(_SCOPE_KEY, Departure())
        return departure

    def happen(self) -> None:
        """Says that the caller has left; only the first time counts."""
        then, self._then = self._then, None
        self._happened = True
        if then is not None:
            then()

    def then(self, action: Callable[[], object] | None) -> None:
        """Has something done when it happens, at once if it has; None for nothing any more."""
        self._then = action
        if self._happened:
            self.happen()
