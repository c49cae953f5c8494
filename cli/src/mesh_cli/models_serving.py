"""What the processes that serve a model say of it."""

import asyncio
from collections.abc import Mapping
from datetime import UTC
from typing import Any, Final

import grpc

from mesh.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from mesh.embedding.v1 import embedding_pb2, embedding_pb2_grpc
from mesh_cli.models_replicas import Replica
from mesh_cli.settings import Site
from meshkit.endpoints import Endpoint, Endpoints

_TIMEOUT_S: Final = 2.0
_MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
# How the service of a model is asked about it. Their answers have the same fields.
_QUESTIONS: Final[Mapping[str, tuple[Any, Any]]] = {
    "classifier": (classifier_pb2_grpc.ClassifierServiceStub, classifier_pb2.GetModelRequest),
    "embedder": (embedding_pb2_grpc.EmbeddingServiceStub, embedding_pb2.GetModelRequest),
}


def ask(site: Site, model: str) -> list[Replica]:
    """What each replica of a model's service says; nothing for a model that no service has.

    The replicas are those that the gateway calls.
    """
    if model not in _QUESTIONS:
        return []
    target = site.process_environment()[f"MESH_GATEWAY_{model.upper()}_TARGET"]
    return asyncio.run(_ask(target, model))


async def _ask(target: str, model: str) -> list[Replica]:
    async with Endpoints(model, target, _MAX_MESSAGE_BYTES) as endpoints:
        asked = (_replica(endpoint, model) for endpoint in endpoints.all)
        return list(await asyncio.gather(*asked))


async def _replica(endpoint: Endpoint, model: str) -> Replica:
    stub, request = _QUESTIONS[model]
    try:
        said = await stub(endpoint.channel).GetModel(request(), timeout=_TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        return Replica(endpoint.address, fault=f"does not answer ({error.code().name.lower()})")
    return Replica(
        endpoint.address,
        version=said.lineage.version,
        since=said.serving_since.ToDatetime(UTC).isoformat(timespec="seconds"),
        precision=said.precision,
        refused=said.refused.version,
        fault=said.refused.reason,
    )
