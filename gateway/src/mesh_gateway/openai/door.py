"""What the routes that are compatible with OpenAI's API share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import msgspec

from mesh.common.v1 import common_pb2
from mesh_gateway import bodies
from mesh_gateway.admission import Admission, Takes, Target
from mesh_gateway.auth import presented_key
from mesh_gateway.exchange import Exchange
from mesh_gateway.lineage_log import LineageLog
from mesh_gateway.openai.catalog import Catalog
from mesh_gateway.openai.generating import Asker, Generating
from mesh_gateway.openai.routing import Router
from mesh_gateway.openai.told import Told
from mesh_gateway.streaming import event
from meshkit import names
from meshkit.errors import MeshError
from meshkit.renderings import to_openai

_encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Door:
    """What the routes share.

    Attributes:
        admission: lets callers in.
        router: says what may answer for a model's name.
        catalog: knows what is served.
        generator: begins generations.
        lineage_log: remembers what answered; None to remember nothing.
    """

    admission: Admission
    router: Router
    catalog: Catalog
    generator: Generating
    lineage_log: LineageLog | None

    @asynccontextmanager
    async def admitted(self, exchange: Exchange, target: Target) -> AsyncIterator[Asker]:
        """Lets a request in, whose body is JSON.

        Raises:
            MeshError: it may not come in, or its body is something else.
        """
        told = Told(exchange)
        async with self.admission.admit(
            presented(exchange), target, exchange, Takes.INSIDE
        ) as caller:
            bodies.check_type(exchange)
            yield Asker(caller, exchange, told)

    def remember(self, asker: Asker, lineage: common_pb2.Lineage) -> None:
        """Remembers what answered."""
        if self.lineage_log:
            self.lineage_log.add(asker.exchange.request_id, lineage)


def presented(exchange: Exchange) -> str | None:
    """The key that a request shows."""
    return presented_key(exchange.header("authorization"), exchange.header(names.API_KEY))


def rendered(error: MeshError) -> bytes:
    """An error as the last event of a stream."""
    return event(_encode(to_openai(error)))
