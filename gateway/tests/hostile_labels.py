"""Finds how long a label is whose response is exactly as large as it may be."""

from collections.abc import Callable
from typing import Any, Final

import grpc

from hostile_grpc import CLASSIFY
from hostile_scene import MAX_MESSAGE_BYTES, label_of
from mesh.classifier.v1 import classifier_pb2
from oip_calls import INFER, text
from processes import PATIENCE_S, Mesh

# Near enough for every length in a message to have as many bytes as at the limit.
_SHORT: Final = MAX_MESSAGE_BYTES - 4096


def labels(mesh: Mesh) -> dict[str, int]:
    """How many letters it has, at each door of a mesh: `native`, `oip` and `grpc`."""
    sizes: dict[str, Callable[[Mesh, str], int]] = {"native": _native, "oip": _oip, "grpc": _grpc}
    return {
        door: _SHORT + MAX_MESSAGE_BYTES - size(mesh, label_of(_SHORT))
        for door, size in sizes.items()
    }


def _native(mesh: Mesh, wanted: str) -> int:
    with mesh.client() as client:
        return len(client.post("/v1/classify", json={"texts": [wanted]}).raise_for_status().content)


def _oip(mesh: Mesh, wanted: str) -> int:
    with mesh.client() as client:
        response = client.post(INFER, json={"inputs": [text(wanted)]})
        return len(response.raise_for_status().content)


def _grpc(mesh: Mesh, wanted: str) -> int:
    payload = classifier_pb2.ClassifyRequest(texts=[wanted]).SerializeToString()
    metadata = (("authorization", f"Bearer {mesh.key.text}"),)
    with grpc.insecure_channel(mesh.gateway.address) as channel:
        call: Any = channel.unary_unary(CLASSIFY)
        response: bytes = call(payload, timeout=PATIENCE_S, metadata=metadata)
    return len(response)
