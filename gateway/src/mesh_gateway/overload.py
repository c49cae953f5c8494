"""What becomes of a request that the gateway has no time for."""

import functools
from typing import Final

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from mesh_gateway.exchange import Exchange, header
from mesh_gateway.problems import error_response
from mesh_gateway.request_ids import request_id_of
from meshkit import names
from meshkit.errors import Overloaded

_ERROR: Final = Overloaded(
    "the gateway has more requests than it can answer; try again in a moment",
    retry_delay_s=1.0,
)
_ID: Final = "=an-id-that-nothing-else-has="


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuses a request, as an application.

    It passes none of the layers that others do: it must cost a fraction of an answer, or refusing
    would leave no time for answers.
    """
    exchange = Exchange.begin(scope)
    exchange.request_id = request_id_of(header(scope, names.REQUEST_ID))
    response = error_response(_ERROR, scope)
    response.headers[names.REQUEST_ID] = exchange.request_id
    await response(scope, receive, send)


def refusal(path: str, request_id: str, headers: bytes) -> bytes:
    """The response to a request that came whole: no task is made for it, and nothing is encoded.

    Args:
        path: of a route.
        request_id: well-formed.
        headers: further ones, each with the end of its line.
    """
    head, body = _parts(path)
    content = request_id.encode().join(body)
    return b"%b%bcontent-length: %d\r\n%b: %b\r\n\r\n%b" % (
        head,
        headers,
        len(content),
        names.REQUEST_ID.encode(),
        request_id.encode(),
        content,
    )


@functools.cache  # routes are few
def _parts(path: str) -> tuple[bytes, list[bytes]]:
    """The head of a refusal, and its body where it is cut at the id of the request."""
    scope: Scope = {"path": path}
    Exchange(_ID).enter(scope)
    response = error_response(_ERROR, scope)
    lines = [b"%b: %b\r\n" % each for each in response.raw_headers if each[0] != b"content-length"]
    head = STATUS_LINE[response.status_code] + b"".join(lines)
    return head, bytes(response.body).split(_ID.encode())
