"""The gateway with one more service behind it, as `python -m counter_gateway`."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import cast

import msgspec
from starlette.types import Receive, Scope, Send

import meshkit.run
from counter_contract import COUNT, DESCRIPTOR, Count, CountRequest
from mesh_gateway import bodies
from mesh_gateway.admission import Target
from mesh_gateway.app import gateway
from mesh_gateway.auth import presented_key
from mesh_gateway.contracts import CONTRACTS, Contract, Parts
from mesh_gateway.exchange import Exchange, header
from mesh_gateway.openapi import HotRoute, Operation
from mesh_gateway.rounds import RoundsLoop
from mesh_gateway.settings import Settings
from mesh_gateway.streaming import event, send_events
from meshkit import names
from meshkit.errors import MeshError
from meshkit.renderings import to_openai
from meshkit.scopes import PREDICT

PATH = "/v1/count"
_TARGET = Target("counter", PREDICT)


class CounterSettings(Settings):
    counter_target: str


class Wish(msgspec.Struct):
    """How far to count."""

    wish: str


class CountRoute:
    """Counts as server-sent events."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange.of(scope)
        presented = presented_key(header(scope, "authorization"), header(scope, names.API_KEY))
        async with self._parts.admission.admit(presented, _TARGET, exchange):
            body = await bodies.read(receive)
            wish = bodies.decode(msgspec.json.Decoder(Wish), body).wish
            await send_events(
                send,
                self._events(wish),
                render_error=_rendered,
                idle_timeout_s=self._parts.settings.stream_idle_timeout_s,
            )

    async def _events(self, wish: str) -> AsyncGenerator[bytes, None]:
        request = CountRequest(wish=wish).SerializeToString()
        async with aclosing(self._parts.client.stream(COUNT, request)) as messages:
            async for message in messages:
                yield event(msgspec.json.encode(Count.FromString(message).said))


def _rendered(error: MeshError) -> bytes:
    return event(msgspec.json.encode(to_openai(error)))


def _routes(parts: Parts) -> Sequence[HotRoute]:
    operation = Operation("count", "Counts", "Counts.", Wish, Wish, "tests")
    return [HotRoute(PATH, CountRoute(parts), operation, timeout_s=30)]


def _target(settings: Settings) -> str:
    return cast(CounterSettings, settings).counter_target


COUNTER = Contract("counter", _target, (DESCRIPTOR,), _routes)
app = gateway((*CONTRACTS, COUNTER))

if __name__ == "__main__":
    meshkit.run.main(CounterSettings, "counter_gateway:app", loop=RoundsLoop)
