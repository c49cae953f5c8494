"""The wiring of the gateway."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from fastapi import FastAPI
from google.protobuf.descriptor import FileDescriptor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from mesh.classifier.v1 import classifier_pb2
from mesh_gateway.access_log import AccessLog
from mesh_gateway.admission import Admission, Limits
from mesh_gateway.api_keys import ApiKeys, HashingKeyFile
from mesh_gateway.auth import Authenticator
from mesh_gateway.backends import Backend, by_model, repeatable
from mesh_gateway.fairness import InFlight
from mesh_gateway.grpc_door.calls import Entrance
from mesh_gateway.grpc_door.door import GrpcDoor
from mesh_gateway.http_server import HttpServer
from mesh_gateway.jwks import KeySet
from mesh_gateway.key_upkeep import KeyUpkeep
from mesh_gateway.limiter import Limiter
from mesh_gateway.lineage_log import LineageLog
from mesh_gateway.middleware import (
    BodyLimit,
    CancelOnDisconnect,
    Deadlines,
    Errors,
    Observe,
    RequestIds,
)
from mesh_gateway.openapi import HotRoute
from mesh_gateway.problems import on_http_exception
from mesh_gateway.readiness import Drain, KeyStoreWatch, Readiness
from mesh_gateway.record_cache import RecordCache
from mesh_gateway.routes import classify, oip, operations
from mesh_gateway.settings import Settings, to_rate
from mesh_gateway.slots import Slots
from mesh_gateway.tokens import TokenRules, Tokens
from meshkit.client import Client
from meshkit.key_store import KeyStore
from meshkit.lineage_store import LineageStore
from meshkit.run import App, Server

T = TypeVar("T")

_OPERATIONS_TIMEOUT_S = 5.0


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[App]:
    """The gateway: its HTTP server, its clients and what it does in the background.

    Neither Redis nor a service need be there: the gateway starts, says so in `/ready`, and waits.

    Raises:
        StartError: there is no hashing key, or a target can't be read.
    """
    hashing_keys = HashingKeyFile(settings.hashing_key_path)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(
            KeyStore(settings.redis_url, timeout_s=settings.redis_timeout_s)
        )
        upkeep = KeyUpkeep(store)
        key_set = KeySet(settings.jwt_keys) if settings.jwt_keys else None
        authenticator = Authenticator(
            ApiKeys(await _cache(stack, settings, "key", store.get), hashing_keys, upkeep),
            Tokens(key_set.find, _token_rules(settings)) if key_set else None,
        )
        admission = Admission(
            authenticator,
            InFlight(settings.max_concurrent_requests),
            await _limits(stack, settings, store),
        )
        classifier = await _backend(
            stack, settings, "classifier", settings.classifier_target, classifier_pb2.DESCRIPTOR
        )
        backends = [classifier]
        lineages = await stack.enter_async_context(
            LineageStore(settings.redis_url, timeout_s=settings.redis_timeout_s)
        )
        lineage_log = (
            LineageLog(lineages.write, settings.lineage_log_capacity)
            if settings.lineage_log
            else None
        )
        watch = KeyStoreWatch(store)
        readiness = Readiness(Drain(), watch, {each.client.name: each.client for each in backends})
        access_log = AccessLog(settings.access_log_capacity) if settings.access_log else None
        open_inference = oip.OpenInference(
            admission, by_model(backends), readiness, lineage_log, settings.max_message_bytes
        )
        routes = [
            classify.route(admission, classifier.client, lineage_log),
            *oip.routes(open_inference),
        ]
        http = build(settings, routes, readiness, access_log)
        entrance = Entrance(
            admission,
            access_log,
            default_timeout_s=settings.grpc_timeout_s,
            most_timeout_s=settings.max_timeout_s,
            most_bytes=settings.max_message_bytes,
        )
        door = GrpcDoor(settings, entrance, authenticator, backends, readiness)
        logs = [log for log in (access_log, lineage_log) if log]
        background = [watch.run(), upkeep.run(), door.watch(), *(log.run() for log in logs)]
        if key_set:
            background.append(key_set.run())
        servers: list[Server] = [HttpServer(http, settings, readiness.drain), door]
        yield App(servers=servers, tasks=background)


async def _backend(
    stack: AsyncExitStack, settings: Settings, name: str, target: str, file: FileDescriptor
) -> Backend:
    """A service whose model has the service's own name on the Open Inference Protocol."""
    files = (file,)
    client = Client(
        name,
        target,
        max_message_bytes=settings.max_message_bytes,
        repeatable=repeatable(files),
    )
    return Backend(await stack.enter_async_context(client), files, model=name)


async def _cache(
    stack: AsyncExitStack,
    settings: Settings,
    kind: str,
    fetch: Callable[[str], Awaitable[T | None]],
) -> RecordCache[T]:
    cache = RecordCache(kind, fetch, capacity=settings.key_cache_size)
    return await stack.enter_async_context(cache)


async def _limits(stack: AsyncExitStack, settings: Settings, store: KeyStore) -> Limits:
    url = settings.limits_redis_url or settings.redis_url
    timeout_s, replicas = settings.redis_timeout_s, settings.replicas
    tenants = await _cache(stack, settings, "tenant", store.get_tenant)
    return Limits(
        limiter=await stack.enter_async_context(
            Limiter(url, timeout_s=timeout_s, replicas=replicas)
        ),
        slots=await stack.enter_async_context(Slots(url, timeout_s=timeout_s, replicas=replicas)),
        tenant=tenants.get,
        key_rate=to_rate(settings.key_rate),
        tenant_rate=to_rate(settings.tenant_rate),
    )


def _token_rules(settings: Settings) -> TokenRules:
    return TokenRules(
        issuer=settings.jwt_issuer or "",
        audience=settings.jwt_audience or "",
        algorithms=settings.jwt_algorithms,
        leeway_s=settings.jwt_leeway_s,
        tenant_claim=settings.jwt_tenant_claim,
        scope_claim=settings.jwt_scope_claim,
    )


def build(
    settings: Settings,
    routes: Sequence[HotRoute],
    readiness: Readiness,
    access_log: AccessLog | None,
) -> FastAPI:
    """The HTTP application."""
    http = FastAPI(
        title="Inference Mesh",
        description="Predictions of small models behind one door.",
        # The middleware below measures; FastAPI's own would count every request twice.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        openapi_url=None,
        redirect_slashes=False,
        middleware=_middleware(settings, access_log),
        exception_handlers={HTTPException: on_http_exception},
        routes=[*routes],
    )
    http.include_router(operations.router(readiness))
    operations.add_documentation(http)
    return http


def _middleware(settings: Settings, access_log: AccessLog | None) -> list[Middleware]:
    """What every request passes through, outermost first."""
    quiet = frozenset({operations.HEALTH, operations.READY, oip.LIVE, oip.READY})
    return [
        # First of all, since everything below says the id.
        Middleware(RequestIds),
        # Outside the errors, to see the status that the caller sees.
        Middleware(Observe, access_log=access_log, quiet=quiet),
        # Renders what everything below raises.
        Middleware(Errors),
        # From here on time is bounded, reading the body included.
        Middleware(
            Deadlines,
            by_path={
                classify.PATH: settings.classify_timeout_s,
                oip.PREFIX: settings.oip_timeout_s,
            },
            default_s=_OPERATIONS_TIMEOUT_S,
            most_s=settings.max_timeout_s,
        ),
        Middleware(CancelOnDisconnect),
        # Innermost, so that it sees every part of the body that the application reads.
        Middleware(BodyLimit, most_bytes=settings.max_message_bytes),
    ]
