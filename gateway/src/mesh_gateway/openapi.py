"""The OpenAPI document: of FastAPI's own routes, and of those that decode for themselves."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Scope

from mesh_gateway import bodies, limit_headers, oip_binary
from mesh_gateway.oip_schemas import OpenInferenceError
from mesh_gateway.openai.responses import OpenAIError
from mesh_gateway.problems import MEDIA_TYPE
from mesh_gateway.schemas import Problem
from meshkit import names

_COMPONENTS: Final = "#/components"
_SCHEMAS: Final = f"{_COMPONENTS}/schemas/{{name}}"
_SECURITY: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key of the mesh."},
    "apiKey": {"type": "apiKey", "in": "header", "name": names.API_KEY},
}
_PATH_PARAMETERS: Final = {
    "model": "Name of the model.",
    "version": "The version that serves; another one is 404.",
}
_PARAMETERS: Final = {
    names.REQUEST_ID: {
        "name": names.REQUEST_ID,
        "in": "header",
        "description": "Id of the request in logs and traces; made where absent or malformed.",
        "schema": {"type": "string"},
    },
    names.REQUEST_TIMEOUT_MS: {
        "name": names.REQUEST_TIMEOUT_MS,
        "in": "header",
        "description": "Milliseconds that the caller waits; the work ends when they have passed.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 9999999999},
    },
    oip_binary.HEADER: {
        "name": oip_binary.HEADER,
        "in": "header",
        "description": "How many bytes of the body are JSON, where the elements of tensors follow.",
        "schema": {"type": "integer", "minimum": 0},
    },
}
_HEADERS: Final = {
    names.REQUEST_ID: {
        "description": "Id of the request in logs and traces.",
        "schema": {"type": "string"},
    },
    names.SERVER_TIMING: {
        "description": "Milliseconds in the gateway itself and waiting for a service.",
        "schema": {"type": "string"},
    },
    limit_headers.POLICY: {
        "description": "Limits of the caller: `q` requests in a window of `w` seconds each.",
        "schema": {"type": "string"},
    },
    limit_headers.LEVEL: {
        "description": "Requests left (`r`) of each, and seconds until there is one more (`t`).",
        "schema": {"type": "string"},
    },
    oip_binary.HEADER: {
        "description": "How many bytes of the body are JSON; absent where all are.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "retry-after": {
        "description": "Seconds after which to try again.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 9999999999},
    },
}
_USUAL_HEADERS: Final = (names.REQUEST_ID, names.SERVER_TIMING)
_LIMIT_HEADERS: Final = (limit_headers.POLICY, limit_headers.LEVEL)
_USUAL_PARAMETERS: Final = (names.REQUEST_ID, names.REQUEST_TIMEOUT_MS)
# What has more headers than the usual ones.
_MORE_HEADERS: Final = {"429": (*_LIMIT_HEADERS, "retry-after"), "503": ("retry-after",)}
_EVENTS: Final = "text/event-stream"
_BYTES: Final = {"schema": {"type": "string", "format": "binary"}}


@dataclass(frozen=True, slots=True)
class ErrorForm:
    """How routes tell what went wrong.

    Attributes:
        prefix: of the names of the responses in the document.
        media_type: of the body.
        body: its type.
        statuses: what an error of each status means.
    """

    prefix: str
    media_type: str
    body: type[msgspec.Struct]
    statuses: Mapping[str, str]


PROBLEMS: Final = ErrorForm(
    "",
    MEDIA_TYPE,
    Problem,
    {
        "400": "The request is wrong; `violations` names the fields at fault.",
        "401": "There is no API key, or none that is valid.",
        "403": "The API key may not call this service.",
        "413": "The body is too large.",
        "415": "The body is not plain JSON.",
        "429": "A limit of the key or of its tenant is reached; `violated-policies` names which.",
        "500": "A fault of the mesh; its log has it under the id of the request.",
        "503": "Something that the request needs is away, or has too much to do.",
        "504": "The time that the caller gave, or the route's default, is over.",
    },
)
"""Of native routes: RFC 9457."""
OPEN_INFERENCE: Final = ErrorForm(
    "open-inference-",
    bodies.JSON,
    OpenInferenceError,
    {
        "400": "The request is wrong; the message names the tensor or the field at fault.",
        "401": PROBLEMS.statuses["401"],
        "403": PROBLEMS.statuses["403"],
        "404": "There is no such model, or another version of it serves.",
        "413": "The body is too large, or its numbers are as tensors.",
        "415": "The body is neither plain JSON nor binary, or it is compressed.",
        "429": "A limit of the key or of its tenant is reached.",
        "500": PROBLEMS.statuses["500"],
        "503": PROBLEMS.statuses["503"],
        "504": PROBLEMS.statuses["504"],
    },
)
"""Of the routes of the Open Inference Protocol."""
OPENAI: Final = ErrorForm(
    "openai-",
    bodies.JSON,
    OpenAIError,
    {
        "400": "The request is wrong; `param` names the parameter, `code` says how.",
        "401": PROBLEMS.statuses["401"],
        "403": PROBLEMS.statuses["403"],
        "404": "There is no such model.",
        "413": PROBLEMS.statuses["413"],
        "415": PROBLEMS.statuses["415"],
        "429": "A limit of the key or of its tenant is reached; `code` says whether of requests or "
        "tokens (`rate_limit_exceeded`), or of money (`insufficient_quota`).",
        "500": PROBLEMS.statuses["500"],
        "503": PROBLEMS.statuses["503"],
        "504": PROBLEMS.statuses["504"],
    },
)
"""Of the routes that are compatible with OpenAI's API."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What the document says of one operation.

    Attributes:
        name: its id in the document.
        summary: a few words.
        description: the rest, in Markdown.
        request: type of the body; None where it has none.
        response: type of the body of a 200.
        parts: types of what stands within the request, where its own type only names them.
        tag: under which the document lists it.
        method: of HTTP.
        open_to_all: whether it needs no key.
        binary: whether both bodies may have the elements of tensors after their JSON.
        events: types of the data of the events that a 200 may be a stream of; empty for none.
        done: data of an event that ends such a stream; None where nothing more than its end does.
        errors: how it tells what went wrong.
        statuses: of the errors that it has; empty for all of the form. With 429, limits count it.
    """

    name: str
    summary: str
    description: str
    request: type[msgspec.Struct] | None
    response: type[msgspec.Struct]
    tag: str
    method: Literal["GET", "POST"] = "POST"
    open_to_all: bool = False
    parts: tuple[type[msgspec.Struct], ...] = ()
    binary: bool = False
    events: tuple[type[msgspec.Struct], ...] = ()
    done: str | None = None
    errors: ErrorForm = PROBLEMS
    statuses: tuple[str, ...] = ()

    @property
    def refusals(self) -> tuple[str, ...]:
        """The statuses of its errors."""
        return self.statuses or tuple(self.errors.statuses)

    def named(self, name: str) -> "Operation":
        """The same under another id, for another path."""
        return replace(self, name=name)


class HotRoute(Route):
    """A route without FastAPI's dependency solving and models; it decodes its own body.

    Args:
        path: of the route.
        endpoint: an ASGI application, or a coroutine function from a request to its response.
        operation: for the document.
        timeout_s: seconds that a request may take where the caller does not say; None where that
            is said elsewhere.
    """

    def __init__(
        self,
        path: str,
        endpoint: ASGIApp | Callable[[Request], Awaitable[Response]],
        operation: Operation,
        timeout_s: float | None = None,
    ) -> None:
        super().__init__(path, endpoint)
        # And no HEAD beside GET, which the document would not have.
        self.methods = {operation.method}
        self.operation = operation
        self.timeout_s = timeout_s

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As any route's; the match says which route it was, as FastAPI's own do."""
        match, child_scope = super().matches(scope)
        return match, {**child_scope, "route": self}


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of the application."""
    found: dict[str, Any] = app.openapi()
    forms = (PROBLEMS, OPEN_INFERENCE, OPENAI)
    types: list[type[msgspec.Struct]] = [form.body for form in forms]
    for route in app.routes:
        if isinstance(route, HotRoute):
            types += _types(route.operation)
            path = found["paths"].setdefault(route.path_format, {})
            path[route.operation.method.lower()] = _operation(route)
    _, schemas = msgspec.json.schema_components(types, ref_template=_SCHEMAS)
    components = found.setdefault("components", {})
    components.setdefault("schemas", {}).update(schemas)
    components |= {
        "headers": _HEADERS,
        "parameters": _PARAMETERS,
        "responses": {
            f"{form.prefix}{status}": _error(form, status)
            for form in forms
            for status in form.statuses
        },
        "securitySchemes": _SECURITY,
    }
    return found


def _types(operation: Operation) -> list[type[msgspec.Struct]]:
    types = (operation.request, operation.response, *operation.events, *operation.parts)
    return [each for each in types if each is not None]


def _operation(route: HotRoute) -> dict[str, Any]:
    operation = route.operation
    errors = operation.errors
    said: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": operation.description,
        "tags": [operation.tag],
    }
    if not operation.open_to_all:
        said["security"] = [{name: []} for name in _SECURITY]
    said["parameters"] = list(_parameters(route))
    if operation.request is not None:
        content = _content(bodies.JSON, operation.request)
        said["requestBody"] = {"required": True, "content": _with_bytes(operation, content)}
    said["responses"] = {
        "200": _success(operation),
        **{
            status: _reference("responses", f"{errors.prefix}{status}")
            for status in operation.refusals
        },
    }
    return said


def _parameters(route: HotRoute) -> Iterator[dict[str, Any]]:
    for name in route.param_convertors:
        description = _PATH_PARAMETERS[name]
        schema = {"type": "string"}
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": description,
            "schema": schema,
        }
    for name in _USUAL_PARAMETERS:
        yield _reference("parameters", name)
    if route.operation.binary:
        yield _reference("parameters", oip_binary.HEADER)


def _success(operation: Operation) -> dict[str, Any]:
    limits = _LIMIT_HEADERS if "429" in operation.refusals else ()
    more = (oip_binary.HEADER,) if operation.binary else ()
    content = _with_bytes(operation, _content(bodies.JSON, operation.response))
    if operation.events:
        content[_EVENTS] = {"schema": _event(operation)}
    return {
        "description": "Success.",
        "headers": {
            name: _reference("headers", name) for name in (*_USUAL_HEADERS, *limits, *more)
        },
        "content": content,
    }


def _event(operation: Operation) -> dict[str, Any]:
    """One event of a stream: OpenAPI 3.1 has no word for it, and testers take the schema for it."""
    told = [_schema(each) for each in operation.events]
    data = [
        *([] if operation.done is None else [{"const": operation.done}]),
        {"contentMediaType": bodies.JSON, "contentSchema": {"anyOf": told}},
    ]
    properties = {"data": {"type": "string", "anyOf": data}}
    return {"type": "object", "properties": properties, "required": ["data"]}


def _error(form: ErrorForm, status: str) -> dict[str, Any]:
    named = (*_USUAL_HEADERS, *_MORE_HEADERS.get(status, ()))
    return {
        "description": form.statuses[status],
        "headers": {name: _reference("headers", name) for name in named},
        "content": _content(form.media_type, form.body),
    }


def _content(media_type: str, body: type[msgspec.Struct]) -> dict[str, Any]:
    return {media_type: {"schema": _schema(body)}}


def _with_bytes(operation: Operation, content: dict[str, Any]) -> dict[str, Any]:
    return {**content, bodies.BINARY: _BYTES} if operation.binary else content


def _schema(body: type[msgspec.Struct]) -> dict[str, str]:
    return _reference("schemas", body.__name__)


def _reference(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"{_COMPONENTS}/{kind}/{name}"}
