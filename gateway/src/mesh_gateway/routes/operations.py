"""What operators and tools ask: `/health`, `/ready`, `/docs`, `/openapi.json`."""

import functools
import importlib.resources
from typing import Any, Final, Literal

import msgspec
from fastapi import APIRouter, FastAPI, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse

from mesh_gateway import openapi
from mesh_gateway.readiness import Readiness

HEALTH: Final = "/health"
READY: Final = "/ready"
_ASSETS: Final = "/docs/assets"

State = Literal["ready", "unavailable"]


class Health(BaseModel):
    """The process runs."""

    status: Literal["ok"]


class Ready(BaseModel):
    """Whether the gateway can admit, and how what it depends on is doing."""

    ready: bool = Field(description="False while the gateway is leaving.")
    backends: dict[str, State] = Field(description="The services behind the gateway.")
    key_store: State = Field(description="The Redis that holds the API keys.")


def router(readiness: Readiness) -> APIRouter:
    """The routes that say how the gateway is."""
    routes = APIRouter(tags=["operations"])

    @routes.get(HEALTH, operation_id="health", summary="Whether the process runs")
    async def health() -> Health:
        return Health(status="ok")

    @routes.get(
        READY,
        operation_id="ready",
        summary="Whether the gateway can admit",
        response_model=Ready,
        responses={503: {"model": Ready, "description": "The gateway is leaving."}},
    )
    async def ready(response: Response) -> dict[str, Any]:
        if not readiness.ready:
            response.status_code = 503
        return {
            "ready": readiness.ready,
            "backends": readiness.states(),
            "key_store": readiness.key_store_state(),
        }

    return routes


def add_documentation(app: FastAPI) -> None:
    """Serves the OpenAPI document and a page for it, whose scripts come from this process too."""

    @functools.cache
    def encoded() -> bytes:
        return msgspec.json.encode(openapi.document(app))

    async def document() -> Response:
        return Response(encoded(), media_type="application/json")

    async def page() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=app.title,
            swagger_js_url=f"{_ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{_ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{_ASSETS}/favicon.png",
        )

    app.add_api_route("/openapi.json", document, include_in_schema=False)
    app.add_api_route("/docs", page, include_in_schema=False)
    static = importlib.resources.files("fastapi_offline") / "static"
    app.mount(_ASSETS, StaticFiles(directory=str(static)))
