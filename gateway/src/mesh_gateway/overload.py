"""What becomes of a request that the gateway has no time for."""

from typing import Final

from starlette.types import Receive, Scope, Send

from mesh_gateway.exchange import Exchange, header
from mesh_gateway.problems import error_response
from mesh_gateway.request_ids import request_id_of
from meshkit import names
from meshkit.errors import Overloaded

_ERROR: Final = Overloaded(
    "the gateway has more requests than it can answer; try again in a moment",
    retry_delay_s=1.0,
)


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
