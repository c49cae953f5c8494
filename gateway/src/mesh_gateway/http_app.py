"""The HTTP application: its routes, and what every request passes through."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from mesh_gateway.access_log import AccessLog
from mesh_gateway.direct import Direct
from mesh_gateway.hot_paths import HotPaths
from mesh_gateway.middleware import (
    BodyLimit,
    Bounds,
    Errors,
    RequestIds,
)
from mesh_gateway.observe import Observe, Observer
from mesh_gateway.openapi import HotRoute
from mesh_gateway.playground import pages as playground
from mesh_gateway.problems import on_http_exception
from mesh_gateway.readiness import Readiness
from mesh_gateway.routes import oip, operations
from mesh_gateway.routes.probes import PROBES
from mesh_gateway.settings import Settings

_OPERATIONS_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class HttpApp:
    """What answers requests.

    Attributes:
        application: those that come in pieces, or whose route does not answer them whole.
        direct: all others.
    """

    application: ASGIApp
    direct: Direct


def build(
    settings: Settings,
    routes: Sequence[HotRoute],
    readiness: Readiness,
    access_log: AccessLog | None,
) -> HttpApp:
    """What answers every request.

    Args:
        settings: limits and times.
        routes: of the services and the protocols.
        readiness: whether the gateway can admit.
        access_log: where lines go; None for no access log.
    """
    observer = Observer(access_log, quiet=PROBES)
    layers = _layers(settings, routes, observer)
    http = FastAPI(
        title="Inference Mesh",
        description="Predictions of small models behind one door.",
        # The middleware below measures; FastAPI's own would count every request twice.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        openapi_url=None,
        redirect_slashes=False,
        middleware=layers,
        exception_handlers={HTTPException: on_http_exception},
        routes=list(routes),
    )
    http.include_router(operations.router(readiness))
    operations.add_documentation(http)
    playground.add(http)
    direct = Direct(
        routes=Direct.routes_of(routes),
        observer=observer,
        most_timeout_s=settings.max_timeout_s,
        most_bytes=settings.max_message_bytes,
        drain=readiness.drain,
    )
    return HttpApp(HotPaths(http, routes, layers), direct)


def _layers(settings: Settings, routes: Sequence[HotRoute], observer: Observer) -> list[Middleware]:
    """What every request passes through, outermost first."""
    timeouts = {route.path: route.timeout_s for route in routes if route.timeout_s is not None}
    return [
        # First of all, since everything below says the id.
        Middleware(RequestIds),
        # Outside the errors, to see the status that the caller sees.
        Middleware(Observe, observer=observer),
        # Renders what everything below raises.
        Middleware(Errors),
        # From here on time is bounded, reading the body included, and a caller that leaves ends it.
        Middleware(
            Bounds,
            by_path={**timeouts, oip.PREFIX: settings.oip_timeout_s},
            default_s=_OPERATIONS_TIMEOUT_S,
            most_s=settings.max_timeout_s,
        ),
        # Innermost, so that it sees every part of the body that the application reads.
        Middleware(BodyLimit, most_bytes=settings.max_message_bytes),
    ]
