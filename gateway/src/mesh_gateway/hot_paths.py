"""The way of most requests: to their route by their path alone.

FastAPI and Starlette pass a request through ten layers before it is at its route, which take as
long as all of the gateway's own; a hot route needs none of them.
"""

from collections.abc import Sequence

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from mesh_gateway.openapi import HotRoute


class HotPaths:
    """Sends the requests of hot routes straight to them, and all others to the application.

    A hot route whose path has parameters is found by the application.

    Args:
        app: what finds every route; has the layers already.
        routes: the hot ones.
        layers: what each request passes, outermost first.
    """

    def __init__(
        self, app: ASGIApp, routes: Sequence[HotRoute], layers: Sequence[Middleware]
    ) -> None:
        self._app = app
        self._routes = {
            (method, route.path): _At(route, layers)
            for route in routes
            for method in route.methods or ()
            if not route.param_convertors
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        app = self._routes.get((scope["method"], scope["path"]), self._app)
        await app(scope, receive, send)


class _At:
    """A route behind its layers."""

    def __init__(self, route: HotRoute, layers: Sequence[Middleware]) -> None:
        self._route = route
        self._app: ASGIApp = route.app
        for layer in reversed(layers):
            self._app = layer.cls(self._app, *layer.args, **layer.kwargs)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = self._route
        await self._app(scope, receive, send)
