"""Answers that are streams over HTTP: server-sent events, each sent when the one before is taken.

Source: "Server-sent events", in the HTML standard of the WHATWG.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from starlette.types import Message, Send

from mesh_gateway.timeouts import in_time, pausing
from meshkit import deadline, spans
from meshkit.errors import MeshError
from meshkit.renderings import from_exception

CONTENT_TYPE: Final = (b"content-type", b"text/event-stream; charset=utf-8")
_SILENT: Final = "the service has sent nothing"
_UNREAD: Final = "the caller has read nothing"
_HEADERS: Final = [
    CONTENT_TYPE,
    # Neither a cache nor a proxy may keep events back.
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


def event(data: bytes, name: bytes = b"") -> bytes:
    """An event as it is sent.

    Args:
        data: without line breaks.
        name: what clients tell it from others by; empty for one without.
    """
    if name:
        return b"event: %b\ndata: %b\n\n" % (name, data)
    return b"data: " + data + b"\n\n"


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
        events: what `event` makes; several may be together, and are sent together.
        render_error: the event that tells of an error.
        idle_timeout_s: seconds that may pass without an event, and without the caller taking one.

    Raises:
        MeshError: what went wrong before the first event.
    """
    async with aclosing(events):
        first = await in_time(anext(events, None), idle_timeout_s, _SILENT, deadline.current())
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        try:
            with pausing(idle_timeout_s) as pause:
                made = first
                while made is not None:
                    pause.waits_for(_UNREAD)
                    await send(_message(made))
                    pause.waits_for(_SILENT)
                    made = await anext(events, None)
        except Exception as error:
            spans.note_fault(error)
            rendered = _message(render_error(from_exception(error)))
            await in_time(send(rendered), idle_timeout_s, _UNREAD)
            if not isinstance(error, MeshError):
                raise
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _message(made: bytes) -> Message:
    return {"type": "http.response.body", "body": made, "more_body": True}
