"""One mesh for every test of this judge, and channels to its door that hold a key or none."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from keyed_channel import keyed
from real_mesh import PATIENCE_S, Mesh, trained_models

CLASSIFIER = "mesh.classifier.v1.ClassifierService"
INFERENCE = "inference.GRPCInferenceService"
Open = Callable[[str | None], grpc.Channel]


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh that nobody else uses, whose door has noticed the classifier."""
    with Mesh(tmp_path_factory.mktemp("mesh"), trained_models()) as started:
        with grpc.insecure_channel(f"127.0.0.1:{started.grpc_port}") as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            request = health_pb2.HealthCheckRequest(service=CLASSIFIER)
            watch = stub.Watch(request, timeout=PATIENCE_S)
            next(each for each in watch if each.status == health_pb2.HealthCheckResponse.SERVING)
        yield started


@pytest.fixture
def open_channel(mesh: Mesh) -> Iterator[Open]:
    """Opens channels that present a key on every call; without one they present nothing."""
    with ExitStack() as stack:

        def opened(key: str | None) -> grpc.Channel:
            channel = grpc.insecure_channel(f"127.0.0.1:{mesh.grpc_port}")
            stack.enter_context(channel)
            return channel if key is None else keyed(channel, key)

        yield opened


@pytest.fixture
def channel(mesh: Mesh, open_channel: Open) -> grpc.Channel:
    """A channel that presents the mesh's own key."""
    return open_channel(mesh.key)


@pytest.fixture
def stranger(open_channel: Open) -> grpc.Channel:
    """A channel without a key."""
    return open_channel(None)
