"""The wiring of the gateway."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from mesh_gateway.access_log import AccessLog
from mesh_gateway.admission import Admission, Limits
from mesh_gateway.api_keys import ApiKeys, HashingKeyFile
from mesh_gateway.auth import Authenticator
from mesh_gateway.fairness import InFlight
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
from mesh_gateway.routes import classify, operations
from mesh_gateway.settings import Settings, to_rate
from mesh_gateway.slots import Slots
from mesh_gateway.tokens import TokenRules, Tokens
from meshkit.client import Client
from meshkit.key_store import KeyStore
from meshkit.lineage_store import LineageStore
from meshkit.run import App

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
        admission = Admission(
            Authenticator(
                ApiKeys(await _cache(stack, settings, "key", store.get), hashing_keys, upkeep),
                Tokens(key_set.find, _token_rules(settings)) if key_set else None,
            ),
            InFlight(settings.max_concurrent_requests),
            await _limits(stack, settings, store),
        )
        classifier = await stack.enter_async_context(
            Client(
                "classifier",
                settings.classifier_target,
                max_message_bytes=settings.max_message_bytes,
            )
        )
        lineages = await stack.enter_async_context(
            LineageStore(settings.redis_url, timeout_s=settings.redis_timeout_s)
        )
        lineage_log = (
            LineageLog(lineages.write, settings.lineage_log_capacity)
            if settings.lineage_log
            else None
        )
        watch = KeyStoreWatch(store)
        readiness = Readiness(Drain(), watch, {classifier.name: classifier})
        access_log = AccessLog(settings.access_log_capacity) if settings.access_log else None
        classify_route = classify.route(admission, classifier, lineage_log)
        http = build(settings, classify_route, readiness, access_log)
        logs = [log for log in (access_log, lineage_log) if log]
        background = [watch.run(), upkeep.run(), *(log.run() for log in logs)]
        if key_set:
            background.append(key_set.run())
        yield App(servers=[HttpServer(http, settings, readiness.drain)], tasks=background)


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
    classify_route: HotRoute,
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
        routes=[classify_route],
    )
    http.include_router(operations.router(readiness))
    operations.add_documentation(http)
    return http


def _middleware(settings: Settings, access_log: AccessLog | None) -> list[Middleware]:
    """What every request passes through, outermost first."""
    quiet = frozenset({operations.HEALTH, operations.READY})
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
            by_path={classify.PATH: settings.classify_timeout_s},
            default_s=_OPERATIONS_TIMEOUT_S,
            most_s=settings.max_timeout_s,
        ),
        Middleware(CancelOnDisconnect),
        # Innermost, so that it sees every part of the body that the application reads.
        Middleware(BodyLimit, most_bytes=settings.max_message_bytes),
    ]
