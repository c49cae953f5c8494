"""Who may come in: authentication now; whatever else a request must pass belongs here too.

Free of HTTP, so that every door of the gateway can use it.
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from mesh_gateway.auth import Authenticator, Caller
from meshkit import context
from meshkit.context import RequestContext
from meshkit.errors import Overloaded, PermissionDenied


class Admission:
    """Admits requests.

    Args:
        authenticator: says who asks.
        most_in_flight: admitted requests at once; further ones are refused.
    """

    def __init__(self, authenticator: Authenticator, *, most_in_flight: int) -> None:
        self._authenticator = authenticator
        self._most_in_flight = most_in_flight
        self._in_flight = 0

    @contextlib.asynccontextmanager
    async def admit(self, presented: str | None, service: str) -> AsyncIterator[Caller]:
        """Lets a request in and makes its caller the one at hand inside.

        Args:
            presented: the API key that the caller sent, if any.
            service: what it wants to call; the scope that its key must have.

        Raises:
            Overloaded: too many requests are in flight.
            Unauthenticated: the key is missing, malformed, unknown or revoked.
            PermissionDenied: the key may not call this service.
            Unavailable: the key store can't be reached and the key is not remembered.
        """
        if self._in_flight >= self._most_in_flight:
            raise Overloaded(
                f"{self._most_in_flight} requests are in flight; try again in a moment",
                retry_delay_s=1.0,
            )
        self._in_flight += 1
        try:
            caller = await self._authenticator.authenticate(presented)
            if service not in caller.scopes:
                raise PermissionDenied(
                    f"the API key {caller.key_id} may not call {service}; use a key with that "
                    f"scope (`mesh keys create --scope {service}`)",
                    reason="SCOPE_MISSING",
                )
            request = context.current() or RequestContext("")
            with context.scope(replace(request, key_id=caller.key_id, tenant=caller.tenant)):
                yield caller
        finally:
            self._in_flight -= 1
