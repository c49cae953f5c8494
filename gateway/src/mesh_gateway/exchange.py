"""One HTTP request on its way through the gateway, and its headers."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from starlette.types import Message, Scope

from mesh_gateway.buckets import Decision, Draft
from mesh_gateway.caller import Caller
from mesh_gateway.limiter import Pending
from mesh_gateway.token_limits import TokenLevel

_SCOPE_KEY: Final = "mesh.exchange"


@dataclass(slots=True)
class Exchange:
    """What becomes known of a request while it is answered.

    Attributes:
        request_id: under which it is known everywhere.
        headers: by their names in lower case; none of a request that did not come over HTTP.
        started_s: when it arrived, in seconds of the performance counter.
        backend_s: seconds spent waiting for a service.
        status: of the response; 0 before it has begun.
        caller: who asks; None before the request is admitted.
        draft: what it takes from the caller's limits; None where nothing limits it.
        pending: whether there is room, where that is being found out while it is answered.
        decision: whether there was room; None before it was asked for.
        tokens: how full its tightest limit of tokens is; None where none is known.
        at_start: called with the message that begins the response, the last one first.
    """

    request_id: str
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    started_s: float = field(default_factory=time.perf_counter)
    backend_s: float = 0.0
    status: int = 0
    caller: Caller | None = None
    draft: Draft | None = None
    pending: Pending | None = None
    decision: Decision | None = None
    tokens: TokenLevel | None = None
    at_start: list[Callable[[Message], None]] = field(default_factory=list)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the request arrived."""
        return time.perf_counter() - self.started_s

    def header(self, name: str) -> str | None:
        """The value of a header by its (lower-case) name; None where there is none."""
        found = self.headers.get(name.encode("ascii"))
        return None if found is None else found.decode("latin-1")

    def calling(self) -> "_Calling":
        """Counts the time inside as time spent waiting for a service."""
        return _Calling(self)

    @classmethod
    def begin(cls, scope: Scope) -> "Exchange":
        """Begins the exchange of the request in `scope`; its id is still to be found."""
        exchange = cls("", joined(scope["headers"]))
        exchange.enter(scope)
        return exchange

    def enter(self, scope: Scope) -> None:
        """Makes this the exchange of the request in `scope`."""
        scope[_SCOPE_KEY] = self

    @classmethod
    def of(cls, scope: Scope) -> "Exchange":
        """The exchange that was begun for the request in `scope`."""
        exchange: Exchange = scope[_SCOPE_KEY]
        return exchange


def header(scope: Scope, name: str) -> str | None:
    """The value of a header by its (lower-case) name; None where there is none."""
    return Exchange.of(scope).header(name)


class _Calling:
    """A call to a service; a plain class, since a generator takes four times as long."""

    __slots__ = ("_began_s", "_exchange")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __enter__(self) -> Self:
        self._began_s = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self._exchange.backend_s += time.perf_counter() - self._began_s


def joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name.

    One that is there several times is one list (RFC 9110, section 5.3): a second `authorization` or
    `content-type` is refused like any other value that is wrong, and not passed over.
    """
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        found[name] = found[name] + b", " + value if name in found else value
    return found
