"""The wiring of the gateway."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from mesh_gateway.access_log import AccessLog
from mesh_gateway.backends import INFERENCE_METHODS, Backend, TensorModels, repeatable
from mesh_gateway.callers import Callers, callers
from mesh_gateway.contracts import CONTRACTS, LLM, Contract, Parts
from mesh_gateway.door_tls import DoorTls, door_tls
from mesh_gateway.grpc_door.calls import Entrance
from mesh_gateway.grpc_door.door import GrpcDoor
from mesh_gateway.grpc_door.metered import Meter
from mesh_gateway.http_app import build
from mesh_gateway.http_server import HttpServer
from mesh_gateway.lineage_log import LineageLog
from mesh_gateway.openai import routes as openai
from mesh_gateway.openai import routing
from mesh_gateway.openai.catalog import Catalog
from mesh_gateway.openai.routing import Deployments
from mesh_gateway.openapi import HotRoute
from mesh_gateway.readiness import Drain, KeyStoreWatch, Readiness
from mesh_gateway.routes import oip
from mesh_gateway.settings import Settings
from meshkit import tls
from meshkit.client import Client
from meshkit.lineage_store import LineageStore
from meshkit.run import App
from meshkit.tls import Certificate

Gateway = Callable[[Settings], AbstractAsyncContextManager[App]]


def gateway(contracts: Sequence[Contract]) -> Gateway:
    """The gateway before some services, as `meshkit.run` starts it."""

    @asynccontextmanager
    async def app(settings: Settings) -> AsyncIterator[App]:
        """The servers of the gateway, its clients and what it does in the background.

        Neither Redis nor a service need be there: the gateway starts, says so in `/ready`, and
        waits.

        Raises:
            StartError: there is no hashing key, or a target or a certificate can't be read.
        """
        security = _Security(door_tls(settings), tls.internal(settings))
        async with AsyncExitStack() as stack:
            known = await stack.enter_async_context(callers(settings))
            backends = [
                await stack.enter_async_context(_backend(contract, settings, security))
                for contract in contracts
            ]
            logs = await stack.enter_async_context(_logs(settings))
            llms = await stack.enter_async_context(_llms(settings, backends, security))
            catalog = Catalog(llms.clients, _named("embedder", backends))
            stack.push_async_callback(catalog.close)
            inside = _Inside(settings, security, known, backends, llms, catalog, logs)
            compatible = await stack.enter_async_context(openai.opened(inside.openai))
            yield _assembled(inside, [*_native_routes(contracts, inside), *compatible])

    return app


app: Final = gateway(CONTRACTS)
"""The gateway before the services of the mesh."""


@dataclass(frozen=True, slots=True)
class _Security:
    """The certificates of the gateway, where it has them: at its door, and inside."""

    door: DoorTls | None
    internal: Certificate | None


@asynccontextmanager
async def _backend(
    contract: Contract, settings: Settings, security: _Security
) -> AsyncIterator[Backend]:
    target = contract.target(settings)
    async with _client(contract, contract.name, target, settings, security) as client:
        yield Backend(client, contract.files, contract.model, contract.instead)


def _client(
    contract: Contract, name: str, target: str, settings: Settings, security: _Security
) -> Client:
    safe = repeatable(contract.files) | (INFERENCE_METHODS if contract.model else frozenset())
    return Client(
        name,
        target,
        max_message_bytes=settings.max_message_bytes,
        repeatable=safe,
        certificate=security.internal,
    )


def _llms(
    settings: Settings, backends: Sequence[Backend], security: _Security
) -> AbstractAsyncContextManager[Deployments]:
    """The deployments of the llm, the gateway's own and those that the routing file names."""
    return routing.connected(
        settings.llm_routing_path,
        _named("llm", backends),
        lambda name, target: _client(LLM, name, target, settings, security),
    )


@dataclass(frozen=True, slots=True)
class _Logs:
    access: AccessLog | None
    lineage: LineageLog | None


@asynccontextmanager
async def _logs(settings: Settings) -> AsyncIterator[_Logs]:
    access = AccessLog(settings.access_log_capacity) if settings.access_log else None
    async with LineageStore(settings.redis_url, timeout_s=settings.redis_timeout_s) as store:
        capacity = settings.lineage_log_capacity
        yield _Logs(access, LineageLog(store.write, capacity) if settings.lineage_log else None)


def _named(name: str, backends: Sequence[Backend]) -> Client:
    return next(each.client for each in backends if each.client.name == name)


@dataclass(frozen=True, slots=True)
class _Inside:
    """What the servers are made of."""

    settings: Settings
    security: _Security
    known: Callers
    backends: Sequence[Backend]
    llms: Deployments
    catalog: Catalog
    logs: _Logs

    @property
    def openai(self) -> openai.Parts:
        """What the routes that are compatible with OpenAI's API are made of."""
        return openai.Parts(
            self.settings,
            self.known.admission,
            self.known.metering,
            self.llms,
            _named("embedder", self.backends),
            self.catalog,
            self.logs.lineage,
        )


def _assembled(inside: _Inside, routes: Sequence[HotRoute]) -> App:
    settings, known, backends, logs = inside.settings, inside.known, inside.backends, inside.logs
    watch = KeyStoreWatch(known.store)
    clients = [*(each.client for each in backends), *inside.llms.clients.values()]
    readiness = Readiness(Drain(), watch, {each.name: each for each in clients})
    open_inference = oip.OpenInference(
        known.admission,
        TensorModels.of(backends),
        readiness,
        logs.lineage,
        settings.max_message_bytes,
    )
    http = build(settings, [*routes, *oip.routes(open_inference)], readiness, logs.access)
    entrance = Entrance(
        known.admission,
        logs.access,
        default_timeout_s=settings.grpc_timeout_s,
        most_timeout_s=settings.max_timeout_s,
        most_bytes=settings.max_message_bytes,
    )
    security = inside.security
    shown = security.door.certificate if security.door else None
    context = security.door.context if security.door else None
    door = GrpcDoor(
        settings,
        entrance,
        known.authenticator,
        backends,
        readiness,
        logs.lineage,
        meter=lambda client: Meter(known.metering, client, inside.catalog.context_tokens),
        certificate=shown,
    )
    tasks = [*known.tasks, watch.run, door.watch]
    tasks += [log.run for log in (logs.access, logs.lineage) if log]
    tasks += [each.watch for each in (shown, security.internal) if each]
    return App(
        servers=[HttpServer(http, settings, readiness.drain, context), door],
        tasks=[task() for task in tasks],
    )


def _native_routes(contracts: Sequence[Contract], inside: _Inside) -> list[HotRoute]:
    settings, admission, lineage = inside.settings, inside.known.admission, inside.logs.lineage
    return [
        route
        for contract, backend in zip(contracts, inside.backends, strict=True)
        for route in contract.routes(Parts(settings, admission, backend.client, lineage))
    ]
