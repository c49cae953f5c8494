"""The port that serves health alone, in the clear, for probes."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from trustme import CA

from conftest import CLASSIFY, Replica, StartReplica, request
from made_certificates import Secret, leaf
from meshkit.errors import StartError
from ports import free_port

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE = "mesh.classifier.v1.ClassifierService"


async def replica_with(
    start_replica: StartReplica, folder: Path, port: int, **settings: object
) -> Replica:
    ca = CA()
    secret = Secret.of(folder / "tls", leaf(ca), ca)
    return await start_replica(health_port=port, **secret.settings(), **settings)


async def check(port: int, name: str = "") -> int:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
    return int(answer.status)


async def code_of(port: int, method: str, payload: bytes = b"") -> grpc.StatusCode:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: Any = channel.unary_unary(f"/{method}")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(payload, timeout=10)
    return caught.value.code()


@pytest.mark.parametrize("name", ["", SERVICE])
async def test_probes_without_tls_see_what_callers_see(
    start_replica: StartReplica, tmp_path: Path, name: str
) -> None:
    port = free_port()
    replica = await replica_with(start_replica, tmp_path, port)
    assert await check(port, name) == SERVING
    await replica.server.leave()
    assert await check(port, name) == NOT_SERVING


async def test_a_watch_hears_of_the_drain_and_does_not_hold_it(
    start_replica: StartReplica, tmp_path: Path
) -> None:
    port = free_port()
    replica = await replica_with(start_replica, tmp_path, port)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == SERVING
        await replica.server.leave()
        assert (await watch.read()).status == NOT_SERVING
        await replica.server.stop(60)
        assert await watch.read() is grpc.aio.EOF


async def test_nothing_else_is_served(start_replica: StartReplica, tmp_path: Path) -> None:
    port = free_port()
    replica = await replica_with(start_replica, tmp_path, port)
    text = request("a text").SerializeToString()
    assert await code_of(port, CLASSIFY, text) is grpc.StatusCode.UNIMPLEMENTED
    for method in (
        "mesh.dispatch.v1.DispatchService/Dispatch",
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ):
        assert await code_of(port, method) is grpc.StatusCode.UNIMPLEMENTED
    assert replica.echo.answered == 0


async def test_nothing_large_is_read(start_replica: StartReplica, tmp_path: Path) -> None:
    port = free_port()
    await replica_with(start_replica, tmp_path, port)
    large = health_pb2.HealthCheckRequest(service="x" * 100_000).SerializeToString()
    code = await code_of(port, "grpc.health.v1.Health/Check", large)
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await check(port) == SERVING


async def test_it_is_there_without_tls_too(start_replica: StartReplica) -> None:
    port = free_port()
    await start_replica(health_port=port)
    assert await check(port) == SERVING


async def test_a_taken_port_is_said(start_replica: StartReplica) -> None:
    first = await start_replica()
    with pytest.raises(StartError, match=f"can't listen on 127.0.0.1:{first.port}.*health_port"):
        await start_replica(health_port=first.port)
