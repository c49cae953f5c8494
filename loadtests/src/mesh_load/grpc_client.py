"""Calls over gRPC, for processes that gevent runs."""

import random
import time
from typing import Any, Final, cast
from urllib.parse import urlsplit

import grpc
from grpc.experimental import gevent as grpc_gevent
from locust.env import Environment

from mesh.classifier.v1.classifier_pb2 import ClassifyRequest
from mesh.classifier.v1.classifier_pb2_grpc import ClassifierServiceStub
from mesh_load.settings import Settings

_CONNECTIONS: Final = 4
"""Of a process: its callers share them, as those of a backend do."""


class GrpcClient:
    """Calls the classifier through the gRPC door, and tells locust of each call.

    Args:
        settings: where the door is.
        environment: locust's, which is told.
        timeout_s: deadline of a call.
    """

    def __init__(self, settings: Settings, environment: Environment, timeout_s: float) -> None:
        grpc_gevent.init_gevent()
        self._request: Any = environment.events.request
        self._timeout_s = timeout_s
        self._metadata = (("authorization", f"Bearer {settings.key}"),)
        self._stubs = [ClassifierServiceStub(_channel(settings)) for _ in range(_CONNECTIONS)]

    def classify(self, kind: str, texts: list[str]) -> None:
        """Makes a call.

        Args:
            kind: of request, in the report.
            texts: to classify.
        """
        stub = random.choice(self._stubs)  # noqa: S311  # no secret
        error: str | None = None
        size = 0
        began_s = time.perf_counter()
        try:
            answer = stub.Classify(
                ClassifyRequest(texts=texts), timeout=self._timeout_s, metadata=self._metadata
            )
            size = answer.ByteSize()
        except grpc.RpcError as failed:
            error = f"gRPC {cast(grpc.Call, failed).code().name}"
        self._request.fire(
            request_type="gRPC",
            name=kind,
            response_time=(time.perf_counter() - began_s) * 1000,
            response_length=size,
            exception=error,
            context={},
        )


def _channel(settings: Settings) -> grpc.Channel:
    parts = urlsplit(settings.grpc_url or "")
    # A channel of its own for each, where those to one target would share a connection.
    options = (("grpc.use_local_subchannel_pool", 1),)
    if parts.scheme == "grpc":
        return grpc.insecure_channel(parts.netloc, options)
    ca = settings.ca_path.read_bytes() if settings.ca_path else None
    return grpc.secure_channel(parts.netloc, grpc.ssl_channel_credentials(ca), options)
