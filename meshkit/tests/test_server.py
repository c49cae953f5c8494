"""The service as a stock gRPC client sees it, without the dispatch stream."""

import asyncio
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from conftest import CLASSIFY, EchoSettings, Replica, StartReplica, labels, request
from mesh.classifier.v1 import classifier_pb2_grpc
from meshkit.errors import StartError
from meshkit.server import GrpcServer
from ports import free_port

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE = "mesh.classifier.v1.ClassifierService"


async def classify(replica: Replica, text: str, timeout_s: float | None = 10) -> list[str]:
    async with grpc.aio.insecure_channel(replica.address) as channel:
        stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
        return labels(await stub.Classify(request(text), timeout=timeout_s))


async def failure(replica: Replica, text: str) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await classify(replica, text)
    return caught.value


def trailing(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    metadata: Any = error.trailing_metadata()
    return dict(metadata)


def details_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    return status_pb2.Status.FromString(trailing(error)["grpc-status-details-bin"])


async def test_answers(replica: Replica) -> None:
    assert await classify(replica, "text") == ["text"]


async def test_every_error_carries_its_details(replica: Replica) -> None:
    error = await failure(replica, "invalid")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "texts[0] is 'invalid'; send another text"
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    status = details_of(error)
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(bad)
    assert (info.reason, info.domain) == ("INVALID_ARGUMENT", "mesh")
    assert [violation.field for violation in bad.field_violations] == ["texts[0]"]


async def test_a_retryable_error_says_when_to_come_back(replica: Replica) -> None:
    error = await failure(replica, "overloaded")
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    retry = error_details_pb2.RetryInfo()
    assert details_of(error).details[1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == 250
    assert trailing(error)["grpc-retry-pushback-ms"] == "250"


async def test_a_fault_is_internal_and_goes_to_the_log(
    replica: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    error = await failure(replica, "fault")
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(error.details())
    assert "a secret of the implementation" in caplog.text


async def test_a_call_without_a_deadline_is_refused(replica: Replica) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await classify(replica, "text", timeout_s=None)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "no deadline" in str(caught.value.details())
    assert replica.echo.answered == 0


async def test_a_caller_that_leaves_cancels_the_work(replica: Replica) -> None:
    leaving = asyncio.create_task(classify(replica, "wait"))
    await replica.echo.begun.acquire()
    leaving.cancel()
    async with asyncio.timeout(10):
        await replica.echo.cancelled.acquire()


async def test_bytes_that_are_no_request_are_invalid(replica: Replica) -> None:
    async with grpc.aio.insecure_channel(replica.address) as channel:
        call: Any = channel.unary_unary(f"/{CLASSIFY}")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"\x0a\x02\xff\xfe", timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "UTF-8" in str(caught.value.details())


@pytest.mark.parametrize("name", ["", SERVICE])
async def test_health_is_checked_by_name(replica: Replica, name: str) -> None:
    async with grpc.aio.insecure_channel(replica.address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        check = health_pb2.HealthCheckRequest(service=name)
        assert (await health.Check(check, timeout=10)).status == SERVING
        await replica.server.leave()
        assert (await health.Check(check, timeout=10)).status == NOT_SERVING


async def test_health_says_what_the_service_does_until_it_leaves(replica: Replica) -> None:
    async with grpc.aio.insecure_channel(replica.address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        check = health_pb2.HealthCheckRequest(service=SERVICE)
        for ready, status in ((False, NOT_SERVING), (True, SERVING)):
            await replica.server.report_ready(ready)
            assert (await health.Check(check, timeout=10)).status == status
        await replica.server.leave()
        await replica.server.report_ready(True)
        assert (await health.Check(check, timeout=10)).status == NOT_SERVING
    assert await classify(replica, "still served") == ["still served"]


async def test_a_watch_hears_of_the_drain_and_does_not_hold_it(replica: Replica) -> None:
    async with grpc.aio.insecure_channel(replica.address) as channel:
        watch: Any = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )(health_pb2.HealthCheckRequest())
        heard = [(await watch.read()).status]
        await replica.server.leave()
        heard.append((await watch.read()).status)
        assert heard == [SERVING, NOT_SERVING]
        async with asyncio.timeout(10):
            await replica.server.stop(60)


async def test_reflection_names_every_service(replica: Replica) -> None:
    async with grpc.aio.insecure_channel(replica.address) as channel:
        stub_type: Any = reflection_pb2_grpc.ServerReflectionStub
        question = reflection_pb2.ServerReflectionRequest(list_services="")
        answers = stub_type(channel).ServerReflectionInfo(iter([question]), timeout=10)
        answer = await answers.read()
    assert {service.name for service in answer.list_services_response.service} == {
        SERVICE,
        "mesh.dispatch.v1.DispatchService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


async def test_a_taken_port_is_said(start_replica: StartReplica) -> None:
    replica = await start_replica()
    settings = EchoSettings(grpc_port=replica.port, admin_port=free_port())
    with pytest.raises(StartError, match=rf"127.0.0.1:{replica.port}.*set another grpc_port"):
        await GrpcServer(settings, []).start()


async def test_a_stop_waits_for_plain_calls_in_flight(replica: Replica) -> None:
    in_flight = asyncio.create_task(classify(replica, "wait"))
    await replica.echo.begun.acquire()
    stopping = asyncio.create_task(replica.server.stop(30))
    await asyncio.sleep(0)
    assert not stopping.done()
    replica.echo.proceed.set()
    assert await in_flight == ["wait"]
    await stopping
