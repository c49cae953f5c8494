"""A service that counts, as `python -m counter_service`; wishes say how it should behave."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic_settings import SettingsConfigDict

import meshkit.run
from counter_contract import Count, add_to_server
from meshkit import context
from meshkit.errors import InvalidArgument
from meshkit.lineage import Lineage
from meshkit.run import App
from meshkit.server import GrpcServer, Service
from meshkit.settings import ServiceSettings

LARGE = 100_000
LINEAGE = Lineage("counter", "1", "", "", "test")


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="MESH_COUNTER_")


class Counting:
    """Counts up to the wish; some wishes have an effect of their own."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    async def GetCounts(self, request: Any, _: object) -> Any:  # noqa: N802  # named by the contract
        """How many streams were begun, are open, and how many messages were made."""
        return Count(said=json.dumps(self._counts))

    async def Count(  # noqa: N802  # named by the contract
        self, request: Any, _: object
    ) -> AsyncGenerator[Any, None]:
        self._counts["begun"] += 1
        self._counts["open"] += 1
        try:
            async for said in _said(request.wish):
                self._counts["made"] += 1
                yield Count(said=said)
            yield Count(said="end", lineage=LINEAGE.to_proto())
        finally:
            self._counts["open"] -= 1


async def _said(wish: str) -> AsyncGenerator[str, None]:
    if wish == "refuse":
        raise InvalidArgument.of_field("wish", "is refused; wish for something else")
    if wish == "who":
        asker = context.current()
        yield f"{asker.key_id} {asker.tenant}" if asker else "nobody"
        return
    if wish == "for ever":
        while True:
            yield "x" * LARGE
    number, _, then = wish.partition(" ")
    if then == "bytes":
        yield "x" * int(number)
        return
    for each in range(int(number)):
        yield str(each)
    if then == "fault":
        raise ZeroDivisionError("a secret of the implementation")
    if then == "wait":
        await asyncio.Event().wait()


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[App]:
    yield App(servers=[GrpcServer(settings, [Service(add_to_server, Counting())])])


if __name__ == "__main__":
    meshkit.run.main(Settings, "counter_service:app")
