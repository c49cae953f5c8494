"""The OpenAPI document: of FastAPI's own routes, and of those that decode for themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import msgspec
from fastapi import FastAPI
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Scope

from mesh_gateway.problems import MEDIA_TYPE
from mesh_gateway.schemas import Problem
from meshkit import names

_REFERENCE: Final = "#/components/schemas/{name}"
_SECURITY: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key of the mesh."},
    "apiKey": {"type": "apiKey", "in": "header", "name": names.API_KEY},
}
_PARAMETERS: Final[Sequence[dict[str, Any]]] = (
    {
        "name": names.REQUEST_ID,
        "in": "header",
        "description": "Id of the request in logs and traces; made where absent or malformed.",
        "schema": {"type": "string", "maxLength": 128},
    },
    {
        "name": names.REQUEST_TIMEOUT_MS,
        "in": "header",
        "description": "Milliseconds that the caller waits; the work ends when they have passed.",
        "schema": {"type": "integer", "minimum": 1},
    },
)
_RESPONSE_HEADERS: Final = {
    names.REQUEST_ID: {
        "description": "Id of the request in logs and traces.",
        "schema": {"type": "string"},
    },
    names.SERVER_TIMING: {
        "description": "Milliseconds in the gateway itself and waiting for a service.",
        "schema": {"type": "string"},
    },
}
_RETRY_AFTER: Final = {
    "retry-after": {
        "description": "Seconds after which to try again.",
        "schema": {"type": "integer", "minimum": 1},
    }
}


@dataclass(frozen=True, slots=True)
class Operation:
    """What the document says of one operation.

    Attributes:
        summary: a few words.
        description: the rest, in Markdown.
        request: type of the body.
        response: type of the body of a 200.
        errors: statuses of the problems that it may answer with.
        tag: under which the document lists it.
    """

    summary: str
    description: str
    request: type[msgspec.Struct]
    response: type[msgspec.Struct]
    errors: Sequence[HTTPStatus]
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
    routes = [route for route in app.routes if isinstance(route, HotRoute)]
    types: list[type[msgspec.Struct]] = [Problem]
    for route in routes:
        types += [route.operation.request, route.operation.response]
    _, schemas = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    components = found.setdefault("components", {})
    components.setdefault("schemas", {}).update(schemas)
    components["securitySchemes"] = _SECURITY
    for route in routes:
        found["paths"].setdefault(route.path, {})["post"] = _post(route)
    return found


def _post(route: HotRoute) -> dict[str, Any]:
    operation = route.operation
    responses = {"200": _response("Success.", "application/json", operation.response)}
    for status in operation.errors:
        problem = _response(status.phrase, MEDIA_TYPE, Problem)
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            problem["headers"] = {**problem["headers"], **_RETRY_AFTER}
        responses[str(int(status))] = problem
    return {
        "operationId": route.path.removeprefix("/v1/").replace("/", "_"),
        "summary": operation.summary,
        "description": operation.description,
        "tags": [operation.tag],
        "security": [{name: []} for name in _SECURITY],
        "parameters": list(_PARAMETERS),
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _reference(operation.request)}},
        },
        "responses": responses,
    }


def _response(description: str, media_type: str, body: type[msgspec.Struct]) -> dict[str, Any]:
    return {
        "description": description,
        "headers": _RESPONSE_HEADERS,
        "content": {media_type: {"schema": _reference(body)}},
    }


def _reference(body: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(name=body.__name__)}
