"""How long something is lent to a request, in case that this process dies meanwhile."""

from typing import Final

from meshkit import deadline

# Longer than anything takes, for a request that has no deadline.
_LONGEST_S: Final = 3600.0
_MARGIN_S: Final = 5.0


def lease_s() -> float:
    """Seconds after which the request at hand has ended for certain."""
    limit = deadline.current()
    return _MARGIN_S + (limit.remaining_s if limit else _LONGEST_S)
