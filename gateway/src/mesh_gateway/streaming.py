"""Answers that are streams over HTTP: server-sent events, each sent when the one before is taken.

Source: "Server-sent events", in the HTML standard of the WHATWG.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from starlette.types import Send

from mesh_gateway.timeouts import in_time
from meshkit import deadline, spans
from meshkit.deadline import Deadline
from meshkit.errors import MeshError
from meshkit.renderings import from_exception

CONTENT_TYPE: Final = (b"content-type", b"text/event-stream; charset=utf-8")
_HEADERS: Final = [
    CONTENT_TYPE,
    # Neither a cache nor a proxy may keep events back.
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


async def send_events(
    send: Send,
    events: AsyncGenerator[bytes, None],
    *,
    render_error: Callable[[MeshError], bytes],
    idle_timeout_s: float,
) -> None:
    """Sends events as they come, and closes their source however this ends.

    The response begins with the first event, so an error before it is a plain one, which is raised;
    a later one becomes the last event, that the current deadline has passed among them. A caller
    that leaves cancels this, and with it the source.

    Args:
        send: of the request.
        events: the data of each event, without line breaks.
        render_error: the data of an event that tells of an error.
        idle_timeout_s: seconds that may pass without an event, and without the caller taking one.

    Raises:
        MeshError: what went wrong before the first event.
    """
    limit = deadline.current()
    async with aclosing(events):
        first = await _next(events, idle_timeout_s, limit)
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        try:
            event = first
            while event is not None:
                await _send(send, event, idle_timeout_s, limit)
                event = await _next(events, idle_timeout_s, limit)
        except Exception as error:
            spans.note_fault(error)
            await _send(send, render_error(from_exception(error)), idle_timeout_s)
            if not isinstance(error, MeshError):
                raise
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _next(
    events: AsyncGenerator[bytes, None], most_s: float, limit: Deadline | None
) -> bytes | None:
    return await in_time(anext(events, None), most_s, "the service has sent nothing", limit)


async def _send(send: Send, event: bytes, most_s: float, limit: Deadline | None = None) -> None:
    message = {"type": "http.response.body", "body": b"data: " + event + b"\n\n", "more_body": True}
    await in_time(send(message), most_s, "the caller has read nothing", limit)
