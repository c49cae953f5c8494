"""Puts the LLM service together: its engine, its model, its health."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import httpx

from mesh.llm.v1.llm_pb2_grpc import add_LlmServiceServicer_to_server
from mesh_llm import adapters
from mesh_llm.adapters import Adapter
from mesh_llm.engines import vllm_launch
from mesh_llm.engines.remote import RemoteEngine, Upstream
from mesh_llm.engines.vllm_engine import VllmEngine
from mesh_llm.engines.vllm_launch import Plan
from mesh_llm.model import About, Engine, LanguageModel, ServedModel
from mesh_llm.servicer import LlmServicer
from mesh_llm.settings import Settings
from meshkit import cpu, store
from meshkit.accounts import NO_MACHINE, Machine, accounting
from meshkit.errors import StartError
from meshkit.ledger import Source
from meshkit.lineage import Lineage
from meshkit.run import App
from meshkit.server import GrpcServer, Service

MODEL: Final = "llm"
"""Name of the model in the store."""
_HEALTH_POLL_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class _Running:
    """An engine that answers, which version it is, and what must go on beside it."""

    engine: Engine
    version: str
    run: str
    adapters: Sequence[Adapter] = ()
    tasks: tuple[Coroutine[Any, Any, None], ...] = ()
    machine: Machine = NO_MACHINE


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[App]:
    """Starts the engine that the settings choose and serves it.

    Raises:
        StartError: there is no model, or it can't be served.
    """
    remote = settings.engine == "remote"
    begun = _remote(settings) if remote else _vllm(settings)
    source = Source.REMOTE if remote else Source.LOCAL
    async with (
        begun as running,
        accounting(settings, "llm", source, running.machine) as accounted,
    ):
        engine = running.engine
        model = LanguageModel(
            engine,
            most_in_flight=settings.max_running + settings.queue_capacity,
            max_choices=settings.max_choices,
            max_prompt_bytes=settings.max_prompt_bytes,
            accounts=accounted.accounts,
        )
        lineage = Lineage(
            model=settings.model_name,
            version=running.version,
            variant=settings.variant,
            run=running.run,
            deployment=settings.deployment,
        )
        lineages = [
            replace(lineage, model=each.name, version=each.version, run=each.run)
            for each in running.adapters
        ]
        servicer = LlmServicer(model, [lineage, *lineages])
        server = GrpcServer(settings, [Service(add_LlmServiceServicer_to_server, servicer)])
        background = [
            *running.tasks,
            *(task() for task in accounted.tasks),
            _tell_health(engine, server),
        ]
        yield App(servers=[server], tasks=background)


async def _tell_health(engine: Engine, server: GrpcServer) -> None:
    """Reports NOT_SERVING for as long as the engine does not answer."""
    told = True
    while True:
        await asyncio.sleep(_HEALTH_POLL_S)
        if engine.ready != told:
            told = engine.ready
            await server.report_ready(told)


@asynccontextmanager
async def _vllm(settings: Settings) -> AsyncIterator[_Running]:
    source, version, run = await asyncio.to_thread(_source, settings)
    beside = await asyncio.to_thread(
        adapters.find, adapters.parse(settings.adapters or ""), settings.models_path, version
    )
    plan = Plan(
        name=settings.model_name,
        source=source,
        max_running=settings.max_running,
        context_tokens=settings.max_context_tokens,
        kv_cache_bytes=settings.kv_cache_bytes,
        gpu_memory_share=settings.gpu_memory_share,
        threads=settings.inference_threads or cpu.threads(),
        prefix_caching=settings.prefix_caching,
        cache_block_tokens=settings.cache_block_tokens,
        compiled=settings.compile_model,
        adapters=beside,
    )
    async with VllmEngine(
        plan,
        tool_format=settings.tool_format,
        reasoning_format=settings.reasoning_format,
        stall_s=settings.engine_stall_s,
    ) as engine:
        yield _Running(engine, version, run, beside, (engine.supervise(),), _machine(plan))


def _machine(plan: Plan) -> Machine:
    """What the engine that was started computes on."""
    return Machine(gpus=1) if vllm_launch.on_gpu() else Machine(cpus=plan.threads)


def _source(settings: Settings) -> tuple[str, str, str]:
    """Where the model is, its version, and the run that made it."""
    if uri := settings.model_uri:
        return uri, uri, ""
    if settings.models_path is None:
        raise StartError(
            "MESH_LLM_MODELS_PATH is not set; set it to a model store, or MESH_LLM_MODEL_URI"
        )
    home = settings.models_path
    if settings.model_version:
        version = store.open_version(home, MODEL, settings.model_version)
    else:
        version = store.resolve(home, MODEL, settings.alias)
    return str(version.file("config.json").parent), version.name, version.run


@asynccontextmanager
async def _remote(settings: Settings) -> AsyncIterator[_Running]:
    assert settings.upstream_url is not None  # noqa: S101  # the settings see to that
    upstream = Upstream(
        url=settings.upstream_url,
        key=settings.upstream_key.get_secret_value(),
        model=settings.upstream_model or settings.model_name,
        first_byte_timeout_s=settings.upstream_first_byte_timeout_s,
        idle_timeout_s=settings.upstream_idle_timeout_s,
    )
    thoughts = settings.reasoning_format
    about = About(
        engine="remote",
        models=[ServedModel(settings.model_name, tool_format="upstream")],
        context_tokens=settings.max_context_tokens or 0,
        precision="",
        reasoning_format="upstream" if thoughts == "auto" else thoughts.replace("none", ""),
        since=datetime.now(UTC),
    )
    # Reading is timed piece by piece, by the engine.
    timeout = httpx.Timeout(settings.upstream_connect_timeout_s, read=None)
    most = settings.max_running + settings.queue_capacity
    limits = httpx.Limits(max_connections=most, max_keepalive_connections=most)
    async with httpx.AsyncClient(timeout=timeout, limits=limits) as client:
        engine = RemoteEngine(upstream, about, client, thinks=thoughts == "think")
        yield _Running(engine, upstream.model, "")
