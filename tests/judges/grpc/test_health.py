"""The stock health client, as grpc_health_probe and Kubernetes ask."""

from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from real_mesh import PATIENCE_S, Mesh

from conftest import CLASSIFIER, INFERENCE

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
WHOLE = ""
UNKNOWN = "mesh.weather.v1.WeatherService"


@pytest.fixture
def health(stranger: grpc.Channel) -> Any:
    """The stub of a caller without a key."""
    return health_pb2_grpc.HealthStub(stranger)


def about(service: str) -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=service)


def check(health: Any, service: str) -> int:
    return int(health.Check(about(service), timeout=PATIENCE_S).status)


@pytest.mark.parametrize("service", [WHOLE, CLASSIFIER, INFERENCE])
def test_what_serves_says_so_to_everybody(health: Any, service: str) -> None:
    assert check(health, service) == SERVING


def test_a_service_that_nobody_knows_is_not_found(health: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        check(health, UNKNOWN)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_watch_of_a_service_that_nobody_knows_says_so(health: Any) -> None:
    watch = health.Watch(about(UNKNOWN), timeout=PATIENCE_S)
    assert next(watch).status == SERVICE_UNKNOWN
    watch.cancel()


def test_a_watch_sees_the_classifier_die_and_come_back(mesh: Mesh, health: Any) -> None:
    watches = [health.Watch(about(name), timeout=PATIENCE_S) for name in (CLASSIFIER, INFERENCE)]
    assert [next(watch).status for watch in watches] == [SERVING, SERVING]
    mesh.classifiers[0].kill()
    assert [next(watch).status for watch in watches] == [NOT_SERVING, NOT_SERVING]
    # The gateway itself admits callers all the while.
    assert check(health, WHOLE) == SERVING
    assert check(health, CLASSIFIER) == NOT_SERVING
    mesh.classifiers[0].start()
    assert [next(watch).status for watch in watches] == [SERVING, SERVING]
    assert check(health, CLASSIFIER) == SERVING
    assert mesh.classify({"texts": ["A delight."]}).status == 200
    for watch in watches:
        watch.cancel()
