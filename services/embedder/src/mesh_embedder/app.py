"""Puts the embedder together: load, warm up, serve, follow the alias."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

from mesh.embedding.v1.embedding_pb2_grpc import add_EmbeddingServiceServicer_to_server
from mesh_embedder import network, oip
from mesh_embedder.model import MODEL, Abilities, Embedder
from mesh_embedder.network import Loaded, Record
from mesh_embedder.servicer import About, EmbeddingServicer, Served
from mesh_embedder.settings import Settings
from meshkit import cpu, oip_service
from meshkit.accounts import Accounts, Machine, accounting
from meshkit.batch_queue import QueueBounds
from meshkit.batching import MicroBatcher
from meshkit.errors import StartError
from meshkit.ledger import Source
from meshkit.lineage import Lineage
from meshkit.onnx import cuda_available
from meshkit.run import App
from meshkit.server import GrpcServer, Service
from meshkit.store import Version
from meshkit.swap import Swap


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[App]:
    """Loads the version that the settings choose and serves it, and those that follow it.

    Raises:
        StartError: there is no version, or it can't be served.
    """
    async with AsyncExitStack() as stack:
        accounted = await stack.enter_async_context(
            accounting(settings, MODEL, Source.LOCAL, _machine(settings))
        )
        loader = Loader(settings, accounted.accounts)
        swap = Swap(
            settings.models_path,
            MODEL,
            settings.alias,
            loader.load,
            pinned=settings.model_version,
        )
        await stack.enter_async_context(swap)

        def lease() -> AbstractContextManager[Served]:
            return swap.serving.lease()

        dimensions = swap.serving.model.about.abilities.dimensions
        servicer = EmbeddingServicer(lease, lambda: swap.refusal)
        services = [
            Service(add_EmbeddingServiceServicer_to_server, servicer),
            oip_service.service(oip.model(MODEL, dimensions, lease)),
        ]
        following = [] if settings.model_version else [swap.watch()]
        tasks = [*following, *(task() for task in accounted.tasks)]
        yield App(servers=[GrpcServer(settings, services)], tasks=tasks)


def _threads(settings: Settings) -> int:
    return settings.inference_threads or cpu.threads()


def _machine(settings: Settings) -> Machine:
    """What embeddings are computed on."""
    return Machine(gpus=1) if cuda_available() else Machine(cpus=_threads(settings))


class Loader:
    """Loads versions of one and the same model.

    Embeddings of two models can't be compared, so that a promotion from one to the other would make
    nonsense of every index that callers keep: it takes a deployment of its own.
    """

    def __init__(self, settings: Settings, accounts: Accounts) -> None:
        self._settings = settings
        self._accounts = accounts
        self._first: Record | None = None

    @asynccontextmanager
    async def load(self, version: Version) -> AsyncIterator[Served]:
        """Loads and warms a version.

        Raises:
            StartError: it can't be served, or is of another model than the first.
        """
        settings = self._settings
        loaded = await asyncio.to_thread(
            network.load, version, settings.max_batch_size, _threads(settings)
        )
        self._check_same_model(version, loaded.record)
        batcher = MicroBatcher(
            loaded.network.embed,
            key=loaded.network.bucket,
            name=MODEL,
            max_batch_size=loaded.plan.max_batch_size,
            max_queue_delay_ms=settings.max_queue_delay_ms,
            queue=QueueBounds(
                settings.queue_capacity, settings.max_queue_wait_ms, settings.max_standing_wait_ms
            ),
            workers=loaded.plan.workers,
            least_share=loaded.plan.least_share,
        )
        about = _about(settings, version, loaded)
        async with batcher:
            embedder = Embedder(
                batcher, self._accounts, about.abilities, settings.max_queued_inputs
            )
            yield Served(embedder, about)

    def _check_same_model(self, version: Version, record: Record) -> None:
        first = self._first
        if first is None:
            self._first = record
        elif (record.base, record.dimensions) != (first.base, first.dimensions):
            raise StartError(
                f"{MODEL}:{version.name} is {record.base} with {record.dimensions} dimensions, and "
                f"callers have embeddings of {first.base} with {first.dimensions}: serve it as a "
                "deployment of its own"
            )


def _about(settings: Settings, version: Version, loaded: Loaded) -> About:
    record = loaded.record
    return About(
        lineage=Lineage(
            model=MODEL,
            version=version.name,
            variant=settings.variant,
            run=version.run,
            deployment=settings.deployment,
        ),
        abilities=Abilities(
            names=(record.base, MODEL),
            dimensions=record.dimensions,
            allowed_dimensions=record.allowed_dimensions,
            max_tokens=loaded.network.max_length,
            vocabulary_size=loaded.network.vocabulary_size,
            max_inputs=settings.max_inputs,
        ),
        precision=record.default_precision,
        metrics=record.metrics,
        serving_since=datetime.now(UTC),
    )
