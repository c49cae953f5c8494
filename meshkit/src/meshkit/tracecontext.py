"""W3C Trace Context: which trace a request belongs to, on the wire.

Source: https://www.w3.org/TR/trace-context-2/, sections 3.2 and 3.3. Of what does not keep to it,
nothing is followed, forwarded or written down. Baggage is not forwarded.
"""

import re
from collections.abc import Mapping, MutableMapping
from typing import Final, Protocol

from opentelemetry.trace import SpanContext, TraceFlags, TraceState

from meshkit import names
from meshkit.redaction import holds_credential

SAMPLED: Final = 0x01
RANDOM: Final = 0x02
# Later versions may only add to it, behind a dash.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})"
    r"(?P<more>-.*)?"
)
_MEMBER: Final = re.compile(
    r"([a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    r"=([\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e])"
)
_MOST_MEMBERS: Final = 32
_MOST_TRACEPARENT: Final = 256
_MOST_TRACESTATE: Final = 8192
_EMPTY: Final = TraceState()
_FLAGS: Final = tuple(TraceFlags(flags) for flags in range(4))


def parse(traceparent: str | None, tracestate: str | None) -> SpanContext | None:
    """The span that a request comes from; None where its headers name none.

    Args:
        traceparent: the header; None where there is none, or not exactly one.
        tracestate: the headers, joined with commas; None where there is none.
    """
    if traceparent is None or len(traceparent) > _MOST_TRACEPARENT:
        return None
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None or (found["version"] == "00" and found["more"] is not None):
        return None
    return SpanContext(
        trace_id=int(found[2], 16),
        span_id=int(found[3], 16),
        is_remote=True,
        trace_flags=flags(int(found[4], 16)),
        trace_state=_state(tracestate) if tracestate else _EMPTY,
    )


def from_metadata(metadata: Mapping[str, str]) -> SpanContext | None:
    """The span that a call comes from, by its metadata; None where it names none."""
    return parse(metadata.get(names.TRACEPARENT), metadata.get(names.TRACESTATE))


class Ids(Protocol):
    """What is told of a span."""

    @property
    def trace_id(self) -> int:
        """Of its trace."""

    @property
    def span_id(self) -> int:
        """Its own."""

    @property
    def trace_flags(self) -> int:
        """The bits."""

    @property
    def trace_state(self) -> TraceState | None:
        """What vendors keep beside its trace."""


def inject(metadata: MutableMapping[str, str], span: Ids) -> None:
    """Puts into the metadata of a call that it comes from this span."""
    metadata[names.TRACEPARENT] = (
        f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
    )
    if span.trace_state:
        metadata[names.TRACESTATE] = span.trace_state.to_header()


def flags(bits: int) -> TraceFlags:
    """Flags with those bits that are known here."""
    return _FLAGS[bits & (SAMPLED | RANDOM)]


def _state(header: str) -> TraceState:
    """What vendors keep beside a trace; nothing of it where any of it breaks the rules."""
    members = [member for each in header.split(",") if (member := each.strip(" \t"))]
    if len(header) > _MOST_TRACESTATE or len(members) > _MOST_MEMBERS or holds_credential(header):
        return _EMPTY
    found = [_MEMBER.fullmatch(member) for member in members]
    pairs = [(member[1], member[2]) for member in found if member is not None]
    if len(pairs) < len(members) or len(dict(pairs)) < len(pairs):
        return _EMPTY
    return TraceState(pairs)
