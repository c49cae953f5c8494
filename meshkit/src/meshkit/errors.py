"""The one tree of errors, free of any transport.

A process raises these and nothing else across its borders; `meshkit.renderings` says how each looks
in gRPC and HTTP. A message names the field, the value and the remedy, because callers see it as it
is.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from meshkit.redaction import redacted


class Code(enum.IntEnum):
    """Canonical status codes with the numbers of google.rpc.Code."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request that is wrong: its path (`texts[3]`) and what is wrong with it."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class QuotaViolation:
    """One limit that a caller has used up.

    Attributes:
        policy: name of the limit, as the `RateLimit-Policy` header has it.
        subject: whose limit it is, such as `key:a1b2c3` or `tenant:shop`.
        description: what the limit is.
    """

    policy: str
    subject: str
    description: str


class StartError(Exception):
    """A process can't start; the message, with the remedy, stands in place of a stack trace."""


class MeshError(Exception):
    """An error that a caller may see.

    A subclass fixes the code, the default reason and whether the same call may succeed when
    repeated. Credentials that a caller sent are masked in whatever is said about them.

    Args:
        message: a sentence for the caller: what is wrong with which value, and the remedy.
        reason: UPPER_SNAKE_CASE, stable, for programs; the subclass's own by default.
        violations: the fields at fault, for INVALID_ARGUMENT.
        quotas: the limits that are used up, for QUOTA_EXCEEDED.
        retry_delay_s: earliest time for another try, in seconds.
        metadata: further facts for programs, such as the limit that was passed.
        retryable: overrides the subclass's own, for an error rebuilt from the wire.
    """

    code: ClassVar[Code] = Code.UNKNOWN
    default_reason: ClassVar[str] = "UNKNOWN"
    default_retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        violations: Sequence[FieldViolation] = (),
        quotas: Sequence[QuotaViolation] = (),
        retry_delay_s: float | None = None,
        metadata: Mapping[str, str] | None = None,
        retryable: bool | None = None,
    ) -> None:
        self.message = redacted(message)
        super().__init__(self.message)
        self.reason = reason or self.default_reason
        self.violations = tuple(
            FieldViolation(redacted(each.field), redacted(each.description)) for each in violations
        )
        self.quotas = tuple(quotas)
        self.retry_delay_s = retry_delay_s
        self.metadata = {name: redacted(value) for name, value in (metadata or {}).items()}
        self.retryable = self.default_retryable if retryable is None else retryable


class InvalidArgument(MeshError):
    """The request is wrong in itself; no repetition helps."""

    code = Code.INVALID_ARGUMENT
    default_reason = "INVALID_ARGUMENT"

    @classmethod
    def of_field(cls, field: str, description: str) -> "InvalidArgument":
        """One field is wrong: the message is its path followed by `description`."""
        return cls(f"{field} {description}", violations=[FieldViolation(field, description)])

    @classmethod
    def of_fields(cls, violations: Sequence[FieldViolation]) -> "InvalidArgument":
        """Several fields are wrong: the message tells of the first three, and how many follow."""
        sentences = "; ".join(f"{each.field} {each.description}" for each in violations[:3])
        more = f"; and {len(violations) - 3} more" if len(violations) > 3 else ""
        return cls(sentences + more, violations=violations)


class PayloadTooLarge(MeshError):
    """The request or the response is larger than `max_message_bytes`."""

    code = Code.RESOURCE_EXHAUSTED
    default_reason = "PAYLOAD_TOO_LARGE"


class Unauthenticated(MeshError):
    """The caller showed no credentials, or none that is valid."""

    code = Code.UNAUTHENTICATED
    default_reason = "UNAUTHENTICATED"


class PermissionDenied(MeshError):
    """The caller is known and may not do this."""

    code = Code.PERMISSION_DENIED
    default_reason = "PERMISSION_DENIED"


class NotFound(MeshError):
    """The thing that the request names does not exist."""

    code = Code.NOT_FOUND
    default_reason = "NOT_FOUND"


class Overloaded(MeshError):
    """Work is refused before its queue makes every caller late."""

    code = Code.RESOURCE_EXHAUSTED
    default_reason = "OVERLOADED"
    default_retryable = True


class QuotaExceeded(MeshError):
    """The caller has used up what it may have; it is let in again later."""

    code = Code.RESOURCE_EXHAUSTED
    default_reason = "QUOTA_EXCEEDED"
    default_retryable = True


class Unavailable(MeshError):
    """The callee is not there, not ready, or leaving."""

    code = Code.UNAVAILABLE
    default_reason = "UNAVAILABLE"
    default_retryable = True


class DeadlineExceeded(MeshError):
    """The time that the caller gave is over."""

    code = Code.DEADLINE_EXCEEDED
    default_reason = "DEADLINE_EXCEEDED"


class Cancelled(MeshError):
    """The caller went away."""

    code = Code.CANCELLED
    default_reason = "CANCELLED"


class Unimplemented(MeshError):
    """The callee has no such method."""

    code = Code.UNIMPLEMENTED
    default_reason = "UNIMPLEMENTED"


class Internal(MeshError):
    """A fault of ours. The message says no more than that; the log has the rest."""

    code = Code.INTERNAL
    default_reason = "INTERNAL"


class UnknownError(MeshError):
    """An error from the wire that fits no other class; its reason keeps the code's name."""


TOKEN_LIMIT: Final = "TOKEN_LIMIT"  # noqa: S105  # tokens of text
"""Of a QuotaExceeded for tokens."""
BUDGET: Final = "BUDGET"
"""Of a QuotaExceeded for money."""

_BY_REASON: dict[tuple[Code, str], type[MeshError]] = {
    (QuotaExceeded.code, TOKEN_LIMIT): QuotaExceeded,
    (QuotaExceeded.code, BUDGET): QuotaExceeded,
    **{(cls.code, cls.default_reason): cls for cls in (PayloadTooLarge, Overloaded, QuotaExceeded)},
}
_BY_CODE: dict[Code, type[MeshError]] = {
    cls.code: cls
    for cls in (
        InvalidArgument,
        Unauthenticated,
        PermissionDenied,
        NotFound,
        Overloaded,
        Unavailable,
        DeadlineExceeded,
        Cancelled,
        Unimplemented,
        Internal,
    )
}


def error_class(code: Code, reason: str) -> type[MeshError]:
    """The class of an error that came over the wire: by code and reason, else by code alone."""
    return _BY_REASON.get((code, reason)) or _BY_CODE.get(code, UnknownError)
