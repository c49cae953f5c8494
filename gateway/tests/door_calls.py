"""Calls at the gRPC door, and what became of them."""

from collections.abc import Callable
from typing import Any, TypeAlias

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from inference import open_inference_grpc_pb2 as inference_pb2
from inference.open_inference_grpc_pb2_grpc import GRPCInferenceServiceStub
from mesh.classifier.v1 import classifier_pb2
from mesh.classifier.v1.classifier_pb2_grpc import ClassifierServiceStub
from meshkit.keys import ApiKey
from processes import PATIENCE_S

Call: TypeAlias = Callable[..., Any]
"""Begins a call: takes a channel, a key, what is asked, and the caller's seconds."""


def with_key(key: ApiKey, *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key.text}"), *more)


def classify(
    channel: grpc.aio.Channel, key: ApiKey, asked: str, timeout_s: float = PATIENCE_S
) -> Any:
    """A call of the service, begun."""
    stub: Any = ClassifierServiceStub(channel)
    request = classifier_pb2.ClassifyRequest(texts=[asked])
    return stub.Classify(request, timeout=timeout_s, metadata=with_key(key))


def infer(channel: grpc.aio.Channel, key: ApiKey, asked: str, timeout_s: float = PATIENCE_S) -> Any:
    """The same by the Open Inference Protocol."""
    stub: Any = GRPCInferenceServiceStub(channel)
    request = inference_pb2.ModelInferRequest(model_name="classifier")
    tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(asked.encode())
    return stub.ModelInfer(request, timeout=timeout_s, metadata=with_key(key))


async def failure(awaitable: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await awaitable
    return caught.value


def reason(error: grpc.aio.AioRpcError) -> str:
    trailing: Any = error.trailing_metadata()
    status = status_pb2.Status.FromString(dict(trailing)["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "mesh"
    return str(info.reason)
