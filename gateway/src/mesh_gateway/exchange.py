"""One HTTP request on its way through the gateway, and its headers."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from starlette.types import Scope

from mesh_gateway.buckets import Decision, Draft
from mesh_gateway.caller import Caller

_SCOPE_KEY: Final = "mesh.exchange"


@dataclass(slots=True)
class Exchange:
    """What becomes known of a request while it is answered.

    Attributes:
        request_id: under which it is known everywhere.
        started_s: when it arrived, in seconds of the performance counter.
        backend_s: seconds spent waiting for a service.
        status: of the response; 0 before it has begun.
        caller: who asks; None before the request is admitted.
        draft: what it takes from the caller's limits; None where nothing limits it.
        decision: whether there was room; None before it was asked for.
    """

    request_id: str
    started_s: float = field(default_factory=time.perf_counter)
    backend_s: float = 0.0
    status: int = 0
    caller: Caller | None = None
    draft: Draft | None = None
    decision: Decision | None = None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the request arrived."""
        return time.perf_counter() - self.started_s

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Counts the time inside as time spent waiting for a service."""
        began_s = time.perf_counter()
        try:
            yield
        finally:
            self.backend_s += time.perf_counter() - began_s

    @classmethod
    def begin(cls, scope: Scope, request_id: str) -> "Exchange":
        """Begins the exchange of the request in `scope`."""
        exchange = cls(request_id)
        scope[_SCOPE_KEY] = exchange
        return exchange

    @classmethod
    def of(cls, scope: Scope) -> "Exchange":
        """The exchange that was begun for the request in `scope`."""
        exchange: Exchange = scope[_SCOPE_KEY]
        return exchange


def header(scope: Scope, name: str) -> str | None:
    """The value of a header by its (lower-case) name; None where there is none.

    One that is there several times is one list (RFC 9110, section 5.3): a second `authorization` or
    `content-type` is refused like any other value that is wrong, and not passed over.
    """
    wanted = name.encode("ascii")
    values = [value for found, value in scope["headers"] if found == wanted]
    return b", ".join(values).decode("latin-1") if values else None
