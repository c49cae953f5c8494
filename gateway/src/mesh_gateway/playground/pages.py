"""Serves the page at `/playground` and what belongs to it, from the files beside this module."""

import hashlib
import importlib.resources
from dataclasses import dataclass
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from meshkit.errors import NotFound

PATH: Final = "/playground"
_PAGE: Final = "index.html"
_MEDIA_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
# Nothing from elsewhere, nothing inline, nothing sent elsewhere: a text that a model wrote can do
# no harm, and the key that was typed in can go nowhere but to this gateway.
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # Kept, but asked after each time: the parts of the page change together.
    "cache-control": "no-cache",
}


def add(app: Starlette) -> None:
    """Serves the page; it needs no key, and what it sends needs the one that is typed in."""
    files = _files()

    async def page(request: Request) -> Response:
        return files[_PAGE].answer(request)

    async def part(request: Request) -> Response:
        name = request.path_params["name"]
        if not name:
            return RedirectResponse(f"..{PATH}", headers={"cache-control": "no-cache"})
        if name == _PAGE or name not in files:
            raise NotFound(
                f"there is nothing at {request.url.path}; the page is {PATH}",
                reason="ROUTE_NOT_FOUND",
            )
        return files[name].answer(request)

    app.add_route(PATH, page, include_in_schema=False)
    app.add_route(f"{PATH}/{{name:path}}", part, include_in_schema=False)


@dataclass(frozen=True, slots=True)
class _File:
    """A file of the page, in memory: all of them are smaller than a picture."""

    content: bytes
    media_type: str
    tag: str

    def answer(self, request: Request) -> Response:
        headers = {**_HEADERS, "etag": self.tag}
        known = request.headers.get("if-none-match", "")
        if self.tag in (each.strip().removeprefix("W/") for each in known.split(",")):
            return Response(status_code=304, headers=headers)
        return Response(self.content, headers=headers, media_type=self.media_type)


def _files() -> dict[str, _File]:
    folder = importlib.resources.files("mesh_gateway.playground") / "static"
    return {each.name: _file(each.name, each.read_bytes()) for each in folder.iterdir()}


def _file(name: str, content: bytes) -> _File:
    media_type = _MEDIA_TYPES[name.rpartition(".")[2]]
    return _File(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
