"""Errors over HTTP: as RFC 9457 problems, or in the form of the protocol that a path belongs to."""

import logging
import math
import secrets
from typing import Final, cast

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from mesh_gateway import bodies
from mesh_gateway.exchange import Exchange
from meshkit import names, renderings
from meshkit.errors import Code, MeshError, NotFound, Unimplemented

MEDIA_TYPE = "application/problem+json"
OPEN_INFERENCE_PATH = "/v2"
"""Under which the errors of the Open Inference Protocol have its own form."""
OPENAI_PATHS: Final = (
    "/v1/chat",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/models",
    "/v1/responses",
)
"""Under which errors are the objects of OpenAI's API."""
# What that API's clients repeat by themselves, unless they are told not to.
_REPEATED: Final = frozenset({408, 409, 429})
_log = logging.getLogger(__name__)
_encoder = msgspec.json.Encoder()


def encode(error: MeshError, *, instance: str, request_id: str) -> bytes:
    """The problem as JSON."""
    return _encoder.encode(renderings.to_problem(error, instance=instance, request_id=request_id))


def last_response(error: MeshError) -> bytes:
    """The whole response to what is no request, on a connection that ends with it."""
    request_id = secrets.token_hex(16)
    content = encode(error, instance="", request_id=request_id)
    retry = "retry-after: 1\r\n" if error.retryable else ""
    head = (
        f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(content)}\r\n"
        f"{names.REQUEST_ID}: {request_id}\r\n{retry}connection: close\r\n\r\n"
    )
    return STATUS_LINE[renderings.http_status(error)] + head.encode() + content


def error_response(error: Exception, scope: Scope) -> Response:
    """The response that tells of `error`; a fault of ours goes to the log with its cause."""
    if not isinstance(error, MeshError):
        _log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
    shown = renderings.from_exception(error)
    content, media_type = _rendered(shown, scope)
    headers = _headers(shown)
    if _is_under(scope["path"], *OPENAI_PATHS):
        headers |= _repetition(shown)
    return Response(content, renderings.http_status(shown), headers, media_type=media_type)


def _rendered(error: MeshError, scope: Scope) -> tuple[bytes, str]:
    """The one place that knows which paths have which form."""
    path = scope["path"]
    if _is_under(path, OPEN_INFERENCE_PATH):
        return _encoder.encode(renderings.to_oip(error)), bodies.JSON
    if _is_under(path, *OPENAI_PATHS):
        return _encoder.encode(renderings.to_openai(error)), bodies.JSON
    return encode(error, instance=path, request_id=Exchange.of(scope).request_id), MEDIA_TYPE


def _is_under(path: str, *prefixes: str) -> bool:
    return any(path == each or path.startswith(f"{each}/") for each in prefixes)


def _repetition(error: MeshError) -> dict[str, str]:
    """What OpenAI's own clients are told of another try, which they would make by themselves.

    Source: `_should_retry` and `_calculate_retry_timeout` of openai-python.
    """
    if error.retryable:
        return {"retry-after-ms": str(math.ceil((error.retry_delay_s or 1.0) * 1000))}
    status = renderings.http_status(error)
    return {"x-should-retry": "false"} if status in _REPEATED or status >= 500 else {}


def _headers(error: MeshError) -> dict[str, str]:
    headers: dict[str, str] = {}
    if error.code is Code.UNAUTHENTICATED:
        headers["www-authenticate"] = 'Bearer realm="mesh"'
    if error.retryable:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_delay_s or 0)))
    return headers


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Renders what the router refuses: an unknown path, a method that a path does not take."""
    refusal = cast(HTTPException, error)  # registered for nothing else
    method, path = request.method, request.scope["path"]
    headers = dict(refusal.headers or {})
    known: Exception = refusal
    if refusal.status_code == 404:
        known = NotFound(
            f"there is nothing at {path}; /docs lists what there is", reason="ROUTE_NOT_FOUND"
        )
    elif refusal.status_code == 405:
        allowed = headers.get("Allow", "another method")
        known = Unimplemented(
            f"{path} does not take {method}; use {allowed}", reason="METHOD_NOT_ALLOWED"
        )
    response = error_response(known, request.scope)
    response.headers.update(headers)
    return response
