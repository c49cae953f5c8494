"""Puts the classifier together: load, warm up, serve."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

from mesh.classifier.v1.classifier_pb2_grpc import add_ClassifierServiceServicer_to_server
from mesh_classifier.fallback import Lexicon
from mesh_classifier.model import Classifier
from mesh_classifier.network import Loaded, load
from mesh_classifier.servicer import About, ClassifierServicer
from mesh_classifier.settings import Settings
from meshkit import cpu, store
from meshkit.batching import MicroBatcher
from meshkit.lineage import Lineage
from meshkit.run import App
from meshkit.server import GrpcServer, Service
from meshkit.store import Version

MODEL: Final = "classifier"


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[App]:
    """Loads the version that the settings choose and serves it.

    Raises:
        StartError: there is no version, or it can't be served.
    """
    version, loaded, lexicon = await asyncio.to_thread(_load, settings)
    batcher = MicroBatcher(
        loaded.network.classify,
        key=loaded.network.bucket,
        name=MODEL,
        max_batch_size=loaded.plan.max_batch_size,
        max_queue_delay_ms=settings.max_queue_delay_ms,
        queue_capacity=settings.queue_capacity,
        workers=loaded.plan.workers,
    )
    async with batcher:
        classifier = Classifier(batcher, lexicon, settings.max_texts)
        servicer = ClassifierServicer(classifier, _about(settings, version, loaded))
        service = Service(add_ClassifierServiceServicer_to_server, servicer)
        yield App(servers=[GrpcServer(settings, [service])])


def _load(settings: Settings) -> tuple[Version, Loaded, Lexicon]:
    if settings.model_version:
        version = store.open_version(settings.models_path, MODEL, settings.model_version)
    else:
        version = store.resolve(settings.models_path, MODEL, settings.alias)
    threads = settings.inference_threads or cpu.threads()
    loaded = load(version, settings.precision, settings.max_batch_size, threads)
    return version, loaded, Lexicon()


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
