"""The OpenAPI document: of FastAPI's own routes, and of those that decode for themselves."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec
from fastapi import FastAPI
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Scope

from mesh_gateway import limit_headers
from mesh_gateway.problems import MEDIA_TYPE
from mesh_gateway.schemas import Problem
from meshkit import names

_JSON: Final = "application/json"
_COMPONENTS: Final = "#/components"
_SCHEMAS: Final = f"{_COMPONENTS}/schemas/{{name}}"
_SECURITY: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key of the mesh."},
    "apiKey": {"type": "apiKey", "in": "header", "name": names.API_KEY},
}
_PARAMETERS: Final = {
    names.REQUEST_ID: {
        "name": names.REQUEST_ID,
        "in": "header",
        "description": "Id of the request in logs and traces; made where absent or malformed.",
        "schema": {"type": "string", "maxLength": 128},
    },
    names.REQUEST_TIMEOUT_MS: {
        "name": names.REQUEST_TIMEOUT_MS,
        "in": "header",
        "description": "Milliseconds that the caller waits; the work ends when they have passed.",
        "schema": {"type": "integer", "minimum": 1},
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
    "retry-after": {
        "description": "Seconds after which to try again.",
        "schema": {"type": "integer", "minimum": 1},
    },
}
_USUAL_HEADERS: Final = (names.REQUEST_ID, names.SERVER_TIMING)
_LIMIT_HEADERS: Final = (limit_headers.POLICY, limit_headers.LEVEL)
# What has more headers than the usual ones.
_MORE_HEADERS: Final = {"429": (*_LIMIT_HEADERS, "retry-after"), "503": ("retry-after",)}
# What any hot route may refuse a request with, whatever it does.
_PROBLEMS: Final = {
    "400": "The request is wrong; `violations` names the fields at fault.",
    "401": "There is no API key, or none that is valid.",
    "403": "The API key may not call this service.",
    "413": "The body is too large.",
    "415": "The body is not plain JSON.",
    "429": "A limit of the key or of its tenant is reached; `violated-policies` names which.",
    "500": "A fault of the mesh; its log has it under the id of the request.",
    "503": "Something that the request needs is away, or has too much to do.",
    "504": "The time that the caller gave, or the route's default, is over.",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """What the document says of one operation.

    Attributes:
        name: its id in the document.
        summary: a few words.
        description: the rest, in Markdown.
        request: type of the body.
        response: type of the body of a 200.
        tag: under which the document lists it.
    """

    name: str
    summary: str
    description: str
    request: type[msgspec.Struct]
    response: type[msgspec.Struct]
    tag: str


class HotRoute(Route):
    """A POST that decodes its own body, without FastAPI's dependency solving and models.

    Args:
        path: of the route.
        endpoint: an ASGI application, not a function.
        operation: for the document.
    """

    def __init__(self, path: str, endpoint: ASGIApp, operation: Operation) -> None:
        super().__init__(path, endpoint, methods=["POST"])
        self.operation = operation

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As any route's; the match says which route it was, as FastAPI's own do."""
        match, child_scope = super().matches(scope)
        return match, {**child_scope, "route": self}


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of the application."""
    found: dict[str, Any] = app.openapi()
    types: list[type[msgspec.Struct]] = [Problem]
    for route in app.routes:
        if isinstance(route, HotRoute):
            types += [route.operation.request, route.operation.response]
            found["paths"].setdefault(route.path, {})["post"] = _post(route.operation)
    _, schemas = msgspec.json.schema_components(types, ref_template=_SCHEMAS)
    components = found.setdefault("components", {})
    components.setdefault("schemas", {}).update(schemas)
    components |= {
        "headers": _HEADERS,
        "parameters": _PARAMETERS,
        "responses": {status: _problem(status) for status in _PROBLEMS},
        "securitySchemes": _SECURITY,
    }
    return found


def _post(operation: Operation) -> dict[str, Any]:
    return {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": operation.description,
        "tags": [operation.tag],
        "security": [{name: []} for name in _SECURITY],
        "parameters": [_reference("parameters", name) for name in _PARAMETERS],
        "requestBody": {
            "required": True,
            "content": _content("application/json", operation.request),
        },
        "responses": {
            "200": {
                "description": "Success.",
                "headers": {
                    name: _reference("headers", name) for name in (*_USUAL_HEADERS, *_LIMIT_HEADERS)
                },
                "content": _content(_JSON, operation.response),
            },
            **{status: _reference("responses", status) for status in _PROBLEMS},
        },
    }


def _problem(status: str) -> dict[str, Any]:
    named = (*_USUAL_HEADERS, *_MORE_HEADERS.get(status, ()))
    return {
        "description": _PROBLEMS[status],
        "headers": {name: _reference("headers", name) for name in named},
        "content": _content(MEDIA_TYPE, Problem),
    }


def _content(media_type: str, body: type[msgspec.Struct]) -> dict[str, Any]:
    return {media_type: {"schema": _reference("schemas", body.__name__)}}


def _reference(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"{_COMPONENTS}/{kind}/{name}"}
