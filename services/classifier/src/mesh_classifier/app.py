"""Puts the classifier together: load, warm up, serve, follow the alias."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Final

from mesh.classifier.v1.classifier_pb2_grpc import add_ClassifierServiceServicer_to_server
from mesh_classifier import network, oip
from mesh_classifier.fallback import Lexicon
from mesh_classifier.model import Classifier
from mesh_classifier.network import Loaded
from mesh_classifier.servicer import About, ClassifierServicer, Served
from mesh_classifier.settings import Settings
from meshkit import cpu, oip_service
from meshkit.batch_queue import QueueBounds
from meshkit.batching import MicroBatcher
from meshkit.lineage import Lineage
from meshkit.run import App
from meshkit.server import GrpcServer, Service
from meshkit.store import Version
from meshkit.swap import Swap

MODEL: Final = "classifier"


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[App]:
    """Loads the version that the settings choose and serves it, and those that follow it.

    Raises:
        StartError: there is no version, or it can't be served.
    """
    lexicon = await asyncio.to_thread(Lexicon)
    swap = Swap(
        settings.models_path,
        MODEL,
        settings.alias,
        partial(_load, settings, lexicon),
        pinned=settings.model_version,
    )

    def lease() -> AbstractContextManager[Served]:
        return swap.serving.lease()

    async with swap:
        servicer = ClassifierServicer(lease, lambda: swap.refusal)
        services = [
            Service(add_ClassifierServiceServicer_to_server, servicer),
            oip_service.service(oip.model(MODEL, lease)),
        ]
        tasks = [] if settings.model_version else [swap.watch()]
        yield App(servers=[GrpcServer(settings, services)], tasks=tasks)


@asynccontextmanager
async def _load(settings: Settings, lexicon: Lexicon, version: Version) -> AsyncIterator[Served]:
    threads = settings.inference_threads or cpu.threads()
    loaded = await asyncio.to_thread(
        network.load, version, settings.precision, settings.max_batch_size, threads
    )
    batcher = MicroBatcher(
        loaded.network.classify,
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
    async with batcher:
        classifier = Classifier(batcher, lexicon, settings.max_texts)
        yield Served(classifier, _about(settings, version, loaded))


def _about(settings: Settings, version: Version, loaded: Loaded) -> About:
    lineage = Lineage(
        model=MODEL,
        version=version.name,
        variant=settings.variant,
        run=version.run,
        deployment=settings.deployment,
    )
    return About(
        lineage=lineage,
        precision=loaded.precision,
        max_length_tokens=loaded.network.max_length,
        max_texts=settings.max_texts,
        metrics=loaded.metrics,
        serving_since=datetime.now(UTC),
    )
