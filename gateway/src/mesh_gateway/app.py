"""The wiring of the gateway."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from mesh_gateway.access_log import AccessLog
from mesh_gateway.backends import INFERENCE_METHODS, Backend, by_model, repeatable
from mesh_gateway.callers import Callers, callers
from mesh_gateway.contracts import CONTRACTS, Contract, Parts
from mesh_gateway.door_tls import DoorTls, door_tls
from mesh_gateway.grpc_door.calls import Entrance
from mesh_gateway.grpc_door.door import GrpcDoor
from mesh_gateway.http_app import build
from mesh_gateway.http_server import HttpServer
from mesh_gateway.lineage_log import LineageLog
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
            yield _assembled(settings, contracts, known, backends, logs, security)

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
    safe = repeatable(contract.files) | (INFERENCE_METHODS if contract.model else frozenset())
    client = Client(
        contract.name,
        contract.target(settings),
        max_message_bytes=settings.max_message_bytes,
        repeatable=safe,
        certificate=security.internal,
    )
    async with client:
        yield Backend(client, contract.files, contract.model)


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


def _assembled(
    settings: Settings,
    contracts: Sequence[Contract],
    known: Callers,
    backends: Sequence[Backend],
    logs: _Logs,
    security: _Security,
) -> App:
    watch = KeyStoreWatch(known.store)
    readiness = Readiness(Drain(), watch, {each.client.name: each.client for each in backends})
    routes = _routes(settings, contracts, known, backends, logs, readiness)
    http = build(settings, routes, readiness, logs.access)
    entrance = Entrance(
        known.admission,
        logs.access,
        default_timeout_s=settings.grpc_timeout_s,
        most_timeout_s=settings.max_timeout_s,
        most_bytes=settings.max_message_bytes,
    )
    shown = security.door.certificate if security.door else None
    context = security.door.context if security.door else None
    door = GrpcDoor(
        settings,
        entrance,
        known.authenticator,
        backends,
        readiness,
        logs.lineage,
        certificate=shown,
    )
    tasks = [*known.tasks, watch.run, door.watch]
    tasks += [log.run for log in (logs.access, logs.lineage) if log]
    tasks += [each.watch for each in (shown, security.internal) if each]
    return App(
        servers=[HttpServer(http, settings, readiness.drain, context), door],
        tasks=[task() for task in tasks],
    )


def _routes(
    settings: Settings,
    contracts: Sequence[Contract],
    known: Callers,
    backends: Sequence[Backend],
    logs: _Logs,
    readiness: Readiness,
) -> list[HotRoute]:
    open_inference = oip.OpenInference(
        known.admission, by_model(backends), readiness, logs.lineage, settings.max_message_bytes
    )
    return [
        route
        for contract, backend in zip(contracts, backends, strict=True)
        for route in contract.routes(Parts(settings, known.admission, backend.client, logs.lineage))
    ] + oip.routes(open_inference)
