"""The page of all errors, made from the code: `python -m meshkit.error_table > docs/errors.md`."""

import sys
from collections.abc import Iterator
from typing import Final

from meshkit import errors, renderings
from meshkit.errors import MeshError, UnknownError

_HEAD: Final = """\
# Errors

Every error of the mesh is one of these, whichever way it is asked. Made by
`python -m meshkit.error_table` from `meshkit.errors` and `meshkit.renderings`; a test compares.

gRPC carries `google.rpc.Status` in `grpc-status-details-bin`: `ErrorInfo` with the reason and the
domain `mesh` always, `BadRequest` where fields are at fault, `QuotaFailure` where limits are
reached, `RetryInfo` where the same call may succeed later. Over HTTP, native routes answer with a
problem (RFC 9457, `application/problem+json`) that has the same facts, routes compatible with
OpenAI with its error object, and those of the Open Inference Protocol with
`{"error": "<message>"}`.

| reason | gRPC status | HTTP | problem type | OpenAI type, code | again? | when |
| --- | --- | --- | --- | --- | --- | --- |
"""
# Reasons of their own that change how an error looks, with the class that has them.
_SPECIAL: Final[tuple[tuple[type[MeshError], str, str], ...]] = (
    (
        errors.InvalidArgument,
        "UNSUPPORTED_MEDIA_TYPE",
        "The body is not of the type that is taken.",
    ),
    (errors.InvalidArgument, "HEADERS_TOO_LARGE", "Request line and headers are over their limit."),
    (errors.Unimplemented, "METHOD_NOT_ALLOWED", "The path takes another method."),
    (
        errors.Unauthenticated,
        "KEY_UNKNOWN",
        "The key is not known; the other `KEY_` reasons alike.",
    ),
    (errors.NotFound, "MODEL_NOT_FOUND", "No service has this model."),
    (errors.Overloaded, "UPSTREAM_OVERLOADED", "An upstream of the LLM has too much to do."),
    (errors.QuotaExceeded, errors.TOKEN_LIMIT, "A limit of tokens has no room for the request."),
    (errors.QuotaExceeded, errors.BUDGET, "A budget has no room for the request."),
)


def markdown() -> str:
    """The page."""
    return _HEAD + "".join(f"{row}\n" for row in _rows())


def _rows() -> Iterator[str]:
    for kind in MeshError.__subclasses__():
        if kind is not UnknownError:
            yield _row(kind, kind.default_reason, (kind.__doc__ or "").partition("\n")[0])
    for kind, reason, when in _SPECIAL:
        yield _row(kind, reason, when)


def _row(kind: type[MeshError], reason: str, when: str) -> str:
    # Money comes back when nobody waits for it any more.
    again = False if reason == errors.BUDGET else None
    error = kind("message", reason=reason, retryable=again)
    problem = renderings.to_problem(error, instance="", request_id="")
    openai = renderings.to_openai(error)["error"]
    problem_type = problem["type"].rpartition("#")[2]
    cells = (
        f"`{reason}`",
        error.code.name,
        str(problem["status"]),
        f"`{problem_type}`",
        f"`{openai['type']}`, " + ("null" if openai["code"] is None else f"`{openai['code']}`"),
        "yes" if error.retryable else "no",
        when,
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.stdout.write(markdown())
