"""JSON bodies: read one, decode it into a type, say what is wrong with it; send one."""

from typing import Final, TypeVar

import msgspec
from starlette.types import Receive, Send

from mesh_gateway.exchange import Exchange
from meshkit.errors import FieldViolation, InvalidArgument

T = TypeVar("T")
JSON: Final = "application/json"
BINARY: Final = "application/octet-stream"


def check_type(exchange: Exchange, *also: str) -> None:
    """Refuses a body that says it is not plain JSON. One that says nothing is taken as JSON.

    Args:
        exchange: the request.
        also: other media types that are taken.

    Raises:
        InvalidArgument: `content-type` or `content-encoding` names something else.
    """
    media_type = exchange.header("content-type")
    if media_type == JSON and b"content-encoding" not in exchange.headers:
        return
    known = (JSON, *also)
    if media_type is not None and media_type.partition(";")[0].strip().lower() not in known:
        raise _unsupported("content-type", media_type, " or ".join(known))
    encoding = exchange.header("content-encoding")
    if encoding is not None and encoding.strip().lower() != "identity":
        raise _unsupported("content-encoding", encoding, "the body uncompressed")


def _unsupported(name: str, value: str, remedy: str) -> InvalidArgument:
    description = f"is {value[:100]!r}; send {remedy}"
    return InvalidArgument(
        f"the header {name} {description}",
        reason="UNSUPPORTED_MEDIA_TYPE",
        violations=[FieldViolation(name, description)],
    )


async def read(receive: Receive) -> bytes:
    """The whole body; its size is bounded by the middleware."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        return body
    parts = [body]
    while message.get("more_body", False):
        message = await receive()
        parts.append(message.get("body", b""))
    return b"".join(parts)


def decode(
    decoder: "msgspec.json.Decoder[T]", body: bytes | memoryview | msgspec.Raw, field: str = ""
) -> T:
    """The body, or a part of it, as the decoder's type.

    Args:
        decoder: of the type.
        body: the JSON.
        field: where it stands in the body; empty where it is all of it.

    Raises:
        InvalidArgument: it is not JSON, not UTF-8, or not of the type; names the field.
    """
    what = field or "the body"
    try:
        return decoder.decode(body)
    except UnicodeDecodeError:
        raise InvalidArgument(
            f"{what} is not valid UTF-8{_first_bad_byte(bytes(body))}; send JSON encoded as UTF-8",
            reason="BODY_NOT_UTF8",
        ) from None
    except msgspec.ValidationError as error:
        raise _invalid(str(error), field) from None
    except msgspec.DecodeError as error:
        raise InvalidArgument(
            f"{what} is not valid JSON ({error}); send a JSON object", reason="BODY_NOT_JSON"
        ) from None
    except RecursionError:
        raise InvalidArgument(
            f"{what} is nested too deep; send what the schema in /openapi.json has",
            reason="BODY_NOT_JSON",
        ) from None


def _first_bad_byte(body: bytes) -> str:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return f" (byte {error.start})"
    return ""


def _invalid(explanation: str, within: str) -> InvalidArgument:
    """Turns "Expected `str`, got `int` - at `$.texts[1]`" into an error of the field texts[1]."""
    problem, _, path = explanation.partition(" - at `$")
    field = f"{within}{path.rstrip('`')}".lstrip(".") or "body"
    wrong = problem.replace("`", "'")
    description = f"{wrong[:1].lower()}{wrong[1:]}; see the schema in /openapi.json"
    return InvalidArgument(
        f"{field}: {description}", violations=[FieldViolation(field, description)]
    )


async def respond(send: Send, content: bytes) -> None:
    """Sends a 200 with a JSON body."""
    headers = [
        (b"content-type", JSON.encode()),
        (b"content-length", str(len(content)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})
