"""What an upstream answers in place of a stream, in our errors."""

import email.utils
import time
from collections.abc import Mapping
from typing import Final

import msgspec

from mesh_llm.engines.openai_chunks import UpstreamError
from meshkit.errors import Internal, InvalidArgument, MeshError, Overloaded, Unavailable

MAX_ERROR_BYTES: Final = 64 * 1024
"""Most of an error's body that is read."""
RETRYABLE: Final = frozenset({408, 409, 429, 500, 502, 503, 504})
"""Statuses after which the same request may be sent again."""
_RETRY_S: Final = 1.0
_MOST_RETRY_S: Final = 120.0


class _Body(msgspec.Struct):
    error: UpstreamError | None = None
    message: str | None = None


def of_response(status: int, headers: Mapping[str, str], body: bytes) -> MeshError:
    """The error that a response without a stream stands for.

    Args:
        status: of HTTP.
        headers: of the response, by their lower-case names.
        body: as much of it as was read.
    """
    said = _said(body)
    words = f": {said.message[:500]}" if said.message else ""
    if status == 429:
        return Overloaded(
            f"the upstream has no room{words}",
            reason="UPSTREAM_OVERLOADED",
            retry_delay_s=retry_after_s(headers),
        )
    if status in (400, 413, 422):
        message = f"the upstream refuses the request{words}"
        if said.param:
            return InvalidArgument.of_field(said.param, f"is refused by the upstream{words}")
        return InvalidArgument(message, reason="UPSTREAM_INVALID_ARGUMENT")
    if status in RETRYABLE:
        return Unavailable(
            f"the upstream answers with status {status}",
            reason="UPSTREAM_UNAVAILABLE",
            retry_delay_s=retry_after_s(headers),
        )
    return Internal(
        f"the upstream answers with status {status}{words}; its address, key or model in the "
        "settings of this service is wrong",
        reason="UPSTREAM_REFUSED",
    )


def of_frame(error: UpstreamError) -> MeshError:
    """The error that a frame within a stream stands for."""
    return Unavailable(
        f"the upstream broke off its answer: {error.message[:500]}", reason="UPSTREAM_BROKE_OFF"
    )


def retry_after_s(headers: Mapping[str, str]) -> float:
    """When to come again, in seconds, by `retry-after-ms` or `retry-after` (RFC 9110, 10.2.3)."""
    seconds = _number(headers.get("retry-after-ms"), 0.001)
    if seconds is None:
        told = headers.get("retry-after")
        seconds = _number(told, 1.0)
        if seconds is None and told:
            seconds = _until(told)
    return _RETRY_S if seconds is None else min(max(seconds, 0.0), _MOST_RETRY_S)


def _number(text: str | None, unit_s: float) -> float | None:
    try:
        return None if text is None else float(text) * unit_s
    except ValueError:
        return None


def _until(date: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(date).timestamp() - time.time()
    except ValueError:
        return None


def _said(body: bytes) -> UpstreamError:
    try:
        decoded = msgspec.json.decode(body, type=_Body)
    except msgspec.DecodeError:
        return UpstreamError()
    return decoded.error or UpstreamError(message=decoded.message or "")
