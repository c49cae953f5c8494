"""Who callers are, and what they may have: the key store, tokens and limits, put together."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from mesh_gateway.admission import Admission, Limits
from mesh_gateway.api_keys import ApiKeys, HashingKeyFile
from mesh_gateway.auth import Authenticator
from mesh_gateway.jwks import KeySet
from mesh_gateway.key_upkeep import KeyUpkeep
from mesh_gateway.limiter import Limiter
from mesh_gateway.metering import Metering
from mesh_gateway.readiness import meet
from mesh_gateway.record_cache import RecordCache
from mesh_gateway.settings import Settings, to_rate
from mesh_gateway.slots import Slots
from mesh_gateway.token_limits import Plans
from mesh_gateway.tokens import TokenRules, Tokens
from meshkit.fairness import InFlight
from meshkit.key_store import KeyStore
from meshkit.ledger import Ledger
from meshkit.ledger_writer import LedgerWriter, metrics_url
from meshkit.prices import Prices
from meshkit.redis_client import Outage
from meshkit.reservations import Reservations
from meshkit.settling import Settler

T = TypeVar("T")
Task: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Callers:
    """What knows callers.

    Attributes:
        store: of the keys.
        authenticator: says who asks.
        admission: lets callers in.
        metering: reserves tokens and money for them.
        tasks: to run in the background for as long as callers come.
    """

    store: KeyStore
    authenticator: Authenticator
    admission: Admission
    metering: Metering
    tasks: Sequence[Task]


@asynccontextmanager
async def callers(settings: Settings) -> AsyncIterator[Callers]:
    """Connects to the key store, and waits a little for one that is not there.

    Raises:
        StartError: there is no hashing key.
    """
    hashing_keys = HashingKeyFile(settings.hashing_key_path)
    outage = Outage()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(
            KeyStore(settings.redis_url, timeout_s=settings.redis_timeout_s, outage=outage)
        )
        upkeep = KeyUpkeep(store)
        tasks: list[Task] = [upkeep.run]
        tokens = None
        if settings.jwt_keys:
            key_set = KeySet(settings.jwt_keys)
            tokens = Tokens(key_set.find, _token_rules(settings))
            tasks.append(key_set.run)
        records = await _cache(stack, settings, "key", store.get)
        authenticator = Authenticator(ApiKeys(records, hashing_keys, upkeep), tokens)
        in_flight = InFlight(settings.max_concurrent_requests)
        of_limits = outage if limits_url(settings) == settings.redis_url else Outage()
        limits = await _limits(stack, settings, store, of_limits)
        await asyncio.gather(meet(store.ping), meet(limits.limiter.ping))
        admission = Admission(authenticator, in_flight, limits)
        metering, metered = await _metering(stack, settings, limits, of_limits)
        yield Callers(store, authenticator, admission, metering, [*tasks, *metered])


async def _cache(
    stack: AsyncExitStack,
    settings: Settings,
    kind: str,
    fetch: Callable[[str], Awaitable[T | None]],
) -> RecordCache[T]:
    cache = RecordCache(kind, fetch, capacity=settings.key_cache_size)
    return await stack.enter_async_context(cache)


async def _limits(
    stack: AsyncExitStack, settings: Settings, store: KeyStore, outage: Outage
) -> Limits:
    url = limits_url(settings)
    timeout_s, replicas = settings.redis_timeout_s, settings.replicas
    tenants = await _cache(stack, settings, "tenant", store.get_tenant)
    return Limits(
        limiter=await stack.enter_async_context(
            Limiter(url, timeout_s=timeout_s, replicas=replicas, outage=outage)
        ),
        slots=await stack.enter_async_context(
            Slots(url, timeout_s=timeout_s, replicas=replicas, outage=outage)
        ),
        tenants=tenants,
        key_rate=to_rate(settings.key_rate),
        tenant_rate=to_rate(settings.tenant_rate),
    )


async def _metering(
    stack: AsyncExitStack, settings: Settings, limits: Limits, outage: Outage
) -> tuple[Metering, Sequence[Task]]:
    """What meters, and what is to run for it in the background."""
    ledger = await stack.enter_async_context(
        Ledger(settings.redis_url, timeout_s=settings.redis_timeout_s)
    )
    writer = LedgerWriter(ledger, "gateway", metrics_url(settings))
    reservations = await stack.enter_async_context(
        Reservations(limits_url(settings), timeout_s=settings.redis_timeout_s, outage=outage)
    )
    settler = Settler(reservations, settings.settlement_capacity)
    plans = Plans(
        limits.tenants.get,
        Prices.load(settings.prices_path),
        key_rate=to_rate(settings.key_token_rate),
        tenant_rate=to_rate(settings.tenant_token_rate),
    )
    metering = Metering(
        plans, reservations, settler, writer, limits.limiter, replicas=settings.replicas
    )
    return metering, (settler.run, writer.run)


def limits_url(settings: Settings) -> str:
    """The Redis that holds what callers have taken of their limits."""
    return settings.limits_redis_url or settings.redis_url


def _token_rules(settings: Settings) -> TokenRules:
    return TokenRules(
        issuer=settings.jwt_issuer or "",
        audience=settings.jwt_audience or "",
        algorithms=settings.jwt_algorithms,
        leeway_s=settings.jwt_leeway_s,
        tenant_claim=settings.jwt_tenant_claim,
        scope_claim=settings.jwt_scope_claim,
    )
