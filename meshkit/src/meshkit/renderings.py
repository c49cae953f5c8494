"""How an error looks on each transport: one table, by reason first and code second.

gRPC has google.rpc.Status with details; over HTTP a route has one of three forms: RFC 9457 problems
(native routes), the error object of OpenAI's API, or that of the Open Inference Protocol.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from mesh.common.v1 import common_pb2
from meshkit import names
from meshkit.errors import (
    Code,
    FieldViolation,
    Internal,
    MeshError,
    QuotaViolation,
    error_class,
)
from meshkit.redaction import redacted

HTTP_BY_REASON: Final[Mapping[str, int]] = {
    "OVERLOADED": 503,
    "UPSTREAM_OVERLOADED": 503,
    "PAYLOAD_TOO_LARGE": 413,
    "QUOTA_EXCEEDED": 429,
    "METHOD_NOT_ALLOWED": 405,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "HEADERS_TOO_LARGE": 431,
}
HTTP_BY_CODE: Final[Mapping[Code, int]] = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}
# Of no registered status; the phrase that proxies use.
_CLIENT_CLOSED_REQUEST: Final = 499
_QUOTA: Final = (
    "https://iana.org/assignments/http-problem-types#quota-exceeded",
    "Quota Exceeded",
)
# The problem types of draft-ietf-httpapi-ratelimit-headers-11, by reason, with titles.
_PROBLEM_TYPES: Final[Mapping[str, tuple[str, str]]] = {
    "QUOTA_EXCEEDED": _QUOTA,
    "TOKEN_LIMIT": _QUOTA,
    "BUDGET": _QUOTA,
    "OVERLOADED": (
        "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
        "Temporarily Reduced Capacity",
    ),
}
# The types of OpenAI's errors, by status; what is not here is the caller's own mistake.
_OPENAI_TYPES: Final[Mapping[int, str]] = {
    429: "requests",
    499: "server_error",
    500: "server_error",
    501: "server_error",
    503: "server_error",
    504: "server_error",
}
# Those that say which limit it is, by reason.
_OPENAI_LIMITS: Final[Mapping[str, str]] = {
    "TOKEN_LIMIT": "tokens",
    "BUDGET": "insufficient_quota",
}
# The codes that clients of OpenAI know, by our reasons; another reason stands for itself.
_OPENAI_CODES: Final[Mapping[str, str | None]] = {
    "KEY_MISSING": "invalid_api_key",
    "KEY_MALFORMED": "invalid_api_key",
    "KEY_UNKNOWN": "invalid_api_key",
    "KEY_REVOKED": "invalid_api_key",
    "KEY_EXPIRED": "invalid_api_key",
    "MODEL_NOT_FOUND": "model_not_found",
    "QUOTA_EXCEEDED": "rate_limit_exceeded",
    "TOKEN_LIMIT": "rate_limit_exceeded",
    "BUDGET": "insufficient_quota",
    "INVALID_ARGUMENT": None,
    "BODY_NOT_JSON": None,
    "BODY_NOT_UTF8": None,
}


def from_exception(error: Exception) -> MeshError:
    """The error that a caller may see: a fault of ours becomes a bare Internal."""
    if isinstance(error, MeshError):
        return error
    return Internal("internal error; the log of the service has the cause under this request id")


def to_item_error(error: MeshError) -> common_pb2.ItemError:
    """The error of one item of a request whose neighbours have an answer."""
    return common_pb2.ItemError(
        code=error.code,
        reason=error.reason,
        message=error.message,
        retryable=error.retryable,
    )


def http_status(error: MeshError) -> int:
    """The HTTP status of the error."""
    return HTTP_BY_REASON.get(error.reason) or HTTP_BY_CODE[error.code]


def to_problem(error: MeshError, *, instance: str, request_id: str) -> dict[str, Any]:
    """The error as an RFC 9457 problem; to be sent as application/problem+json.

    Args:
        error: what went wrong.
        instance: the path that was asked for.
        request_id: the id under which logs and traces know the request.
    """
    status = http_status(error)
    kind, title = _PROBLEM_TYPES.get(error.reason, ("about:blank", _phrase(status)))
    problem: dict[str, Any] = {
        "type": kind,
        "title": title,
        "status": status,
        "detail": error.message,
        "instance": redacted(instance),
        "code": error.code.name,
        "reason": error.reason,
        "retryable": error.retryable,
        "request_id": request_id,
    }
    if error.violations:
        problem["violations"] = [
            {"field": violation.field, "description": violation.description}
            for violation in error.violations
        ]
    if error.quotas:
        problem["violated-policies"] = [quota.policy for quota in error.quotas]
    return problem


def to_openai(error: MeshError) -> dict[str, Any]:
    """The error as OpenAI's API has it; all four keys are always there.

    Source: the API reference of OpenAI, "Error codes", and the error classes of openai-python.
    """
    status = http_status(error)
    code = _OPENAI_CODES.get(error.reason, error.reason.lower())
    return {
        "error": {
            "message": error.message,
            "type": _OPENAI_LIMITS.get(error.reason)
            or _OPENAI_TYPES.get(status, "invalid_request_error"),
            "param": error.violations[0].field if error.violations else None,
            "code": code,
        }
    }


def to_oip(error: MeshError) -> dict[str, str]:
    """The error as the Open Inference Protocol has it over HTTP: one string."""
    return {"error": error.message}


def _phrase(status: int) -> str:
    """The title of a problem without a type of its own (RFC 9457, section 4.2.1)."""
    return (
        "Client Closed Request" if status == _CLIENT_CLOSED_REQUEST else HTTPStatus(status).phrase
    )


def to_status(error: MeshError) -> status_pb2.Status:
    """The error as google.rpc.Status: ErrorInfo always, the other details where they apply.

    Source: google/rpc/error_details.proto.
    """
    details: list[Message] = [
        error_details_pb2.ErrorInfo(
            reason=error.reason, domain=names.ERROR_DOMAIN, metadata=error.metadata
        )
    ]
    if error.violations:
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field=violation.field, description=violation.description
                    )
                    for violation in error.violations
                ]
            )
        )
    if error.quotas:
        details.append(
            error_details_pb2.QuotaFailure(
                violations=[
                    error_details_pb2.QuotaFailure.Violation(
                        subject=quota.subject,
                        description=quota.description,
                        quota_id=quota.policy,
                    )
                    for quota in error.quotas
                ]
            )
        )
    if error.retryable:
        delay = Duration()
        delay.FromMicroseconds(round((error.retry_delay_s or 0.0) * 1e6))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return status_pb2.Status(
        code=int(error.code), message=error.message, details=[_pack(detail) for detail in details]
    )


def from_status(code: int, message: str, status_details: bytes | None) -> MeshError:
    """Rebuilds an error from what came over gRPC; the inverse of `to_status`.

    Args:
        code: the call's status code.
        message: the call's status message.
        status_details: the bytes of `grpc-status-details-bin`; None or unreadable bytes leave code
            and message.
    """
    known = Code(code) if code in Code.__members__.values() else Code.UNKNOWN
    reason = known.name
    violations: list[FieldViolation] = []
    quotas: list[QuotaViolation] = []
    metadata: dict[str, str] = {}
    retry: float | None = None
    for detail in _details(status_details):
        if isinstance(detail, error_details_pb2.ErrorInfo):
            reason, metadata = detail.reason, dict(detail.metadata)
        elif isinstance(detail, error_details_pb2.BadRequest):
            violations += [FieldViolation(v.field, v.description) for v in detail.field_violations]
        elif isinstance(detail, error_details_pb2.QuotaFailure):
            quotas += [
                QuotaViolation(v.quota_id, v.subject, v.description) for v in detail.violations
            ]
        elif isinstance(detail, error_details_pb2.RetryInfo):
            retry = detail.retry_delay.ToTimedelta().total_seconds()
    return error_class(known, reason)(
        message,
        reason=reason,
        violations=violations,
        quotas=quotas,
        metadata=metadata,
        retry_delay_s=retry or None,
        retryable=retry is not None if status_details else None,
    )


_DETAIL_TYPES: Final = (
    error_details_pb2.ErrorInfo,
    error_details_pb2.BadRequest,
    error_details_pb2.QuotaFailure,
    error_details_pb2.RetryInfo,
)


def _pack(message: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed


def _details(status_details: bytes | None) -> list[Message]:
    if not status_details:
        return []
    try:
        status = status_pb2.Status.FromString(status_details)
        return [
            _unpack(detail, detail_type)
            for detail in status.details
            for detail_type in _DETAIL_TYPES
            if detail.Is(detail_type.DESCRIPTOR)
        ]
    except DecodeError:
        return []


def _unpack(packed: AnyMessage, message_type: type[Message]) -> Message:
    message = message_type()
    packed.Unpack(message)
    return message
