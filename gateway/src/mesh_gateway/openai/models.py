"""`GET /v1/models` and `/v1/models/{model}`: what requests may name."""

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from mesh_gateway import bodies
from mesh_gateway.exchange import Exchange
from mesh_gateway.openai.door import Door, presented
from mesh_gateway.openai.responses import Model, ModelList
from meshkit import scopes
from meshkit.errors import NotFound
from meshkit.scopes import VERBS

PATH: Final = "/v1/models"
PATH_OF_ONE: Final = f"{PATH}/{{model:path}}"
_encode: Final = msgspec.json.Encoder().encode


class Models:
    """Answers the routes; a caller sees what its scopes let it use.

    Args:
        door: what the routes of this API share.
    """

    def __init__(self, door: Door) -> None:
        self._door = door

    async def every(self, request: Request) -> Response:
        """All models."""
        models = await self._seen_by(request)
        return _response(ModelList(list(models.values())))

    async def one(self, request: Request) -> Response:
        """One model.

        Raises:
            NotFound: there is none of that name, or the caller may not use it.
        """
        models = await self._seen_by(request)
        name: str = request.path_params["model"]
        if name not in models:
            known = ", ".join(models) or "none that this key may use"
            raise NotFound(
                f"model is {name[:100]!r} and there are: {known}; name one of them",
                reason="MODEL_NOT_FOUND",
            )
        return _response(models[name])

    async def _seen_by(self, request: Request) -> dict[str, Model]:
        exchange = Exchange.of(request.scope)
        await self._door.admission.identify(presented(exchange), exchange)
        granted = exchange.caller.scopes if exchange.caller else frozenset[str]()
        with exchange.calling():
            served = await self._door.catalog.all()
        models = [
            Model(id=name, created=each.since, owned_by=each.service)
            for each in served
            for name in each.names
        ]
        since = max((each.created for each in models), default=0)
        models += [Model(name, since, service) for name, service in self._door.router.aliases]
        found: dict[str, Model] = {}
        for each in models:
            if any(scopes.allows(granted, each.owned_by, verb) for verb in VERBS):
                found.setdefault(each.id, each)  # of two of a name the first answers
        return found


def _response(content: msgspec.Struct) -> Response:
    return Response(_encode(content), media_type=bodies.JSON)
