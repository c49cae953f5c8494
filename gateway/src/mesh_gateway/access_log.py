"""The access log, off the path of the requests."""

import asyncio
from datetime import UTC, datetime
from typing import BinaryIO, Final, Self

import msgspec
from opentelemetry import trace

from mesh_gateway.exchange import Exchange
from meshkit import names, telemetry
from meshkit.line_writer import LineWriter
from meshkit.redaction import redacted
from meshkit.spans import Span

_MOST_PATH: Final = 256
_dropped = telemetry.counter(
    names.ACCESS_LOG_DROPPED,
    "{line}",
    "Access log lines that could not be written in time, or not at all.",
)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One request, in the form of the other log lines."""

    time: datetime
    level: str = "INFO"
    logger: str = "mesh_gateway.access"
    service: str = "gateway"
    message: str
    request_id: str
    trace_id: str | None
    method: str
    path: str
    route: str
    status: int
    duration_ms: float
    backend_ms: float
    client: str | None
    key_id: str | None
    tenant: str | None

    @classmethod
    def of(
        cls,
        exchange: Exchange,
        *,
        method: str,
        path: str,
        route: str,
        status: int,
        elapsed_s: float,
        client: str | None,
    ) -> Self:
        """The line of a request that is over.

        Args:
            exchange: what became known of it.
            method: HTTP's, or GRPC.
            path: what was asked for.
            route: the same from a closed set.
            status: HTTP's, or the one that stands for a gRPC status.
            elapsed_s: seconds that it took.
            client: address of the caller, where it is known.
        """
        span = trace.get_current_span()
        caller = exchange.caller
        path = redacted(path)[:_MOST_PATH]
        method = redacted(method)[:_MOST_PATH]
        return cls(
            time=datetime.now(UTC),
            message=f"{method} {path} {status}",
            request_id=exchange.request_id,
            trace_id=trace.format_trace_id(span.trace_id) if isinstance(span, Span) else None,
            method=method,
            path=path,
            route=route,
            status=status,
            duration_ms=round(elapsed_s * 1000, 3),
            backend_ms=round(exchange.backend_s * 1000, 3),
            client=client,
            key_id=caller.key_id if caller else None,
            tenant=caller.tenant if caller else None,
        )


class AccessLog(LineWriter[Line]):
    """Lines wait in a bounded list and are written by another thread, many at once.

    A slow pipe or disk delays no request: what no longer fits is dropped and counted.

    Args:
        capacity: most lines that wait.
        out: where they go; stderr by default.
    """

    def __init__(self, capacity: int, out: BinaryIO | None = None) -> None:
        encode = msgspec.json.Encoder().encode_lines
        super().__init__(encode, capacity=capacity, lost=_dropped.add, out=out)

    async def run(self) -> None:
        """Writes lines until cancelled, and then those that still wait."""
        self.start()
        try:
            await asyncio.Event().wait()
        finally:
            self.close()
