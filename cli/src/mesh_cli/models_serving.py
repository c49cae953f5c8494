"""What the processes that serve a model say of it."""

import asyncio
from datetime import UTC
from typing import Any, Final

import grpc

from mesh.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from mesh_cli.models_replicas import Replica
from mesh_cli.settings import Site
from meshkit.endpoints import Endpoint, Endpoints

_TIMEOUT_S: Final = 2.0
_MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024


def ask(site: Site, model: str) -> list[Replica]:
    """What each replica of a model's service says; nothing for a model that no service has.

    The replicas are those that the gateway calls.
    """
    if model != "classifier":
        return []
    return asyncio.run(_ask(site.process_environment()["MESH_GATEWAY_CLASSIFIER_TARGET"], model))


async def _ask(target: str, model: str) -> list[Replica]:
    async with Endpoints(model, target, _MAX_MESSAGE_BYTES) as endpoints:
        return list(await asyncio.gather(*map(_replica, endpoints.all)))


async def _replica(endpoint: Endpoint) -> Replica:
    stub: Any = classifier_pb2_grpc.ClassifierServiceStub(endpoint.channel)
    try:
        said = await stub.GetModel(classifier_pb2.GetModelRequest(), timeout=_TIMEOUT_S)
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
