"""The gRPC door over real sockets, before the stand-in service."""

import asyncio
import signal
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from door_calls import failure, reason, with_key
from inference import open_inference_grpc_pb2 as inference_pb2
from inference.open_inference_grpc_pb2_grpc import GRPCInferenceServiceStub
from mesh.classifier.v1 import classifier_pb2
from mesh.classifier.v1.classifier_pb2_grpc import ClassifierServiceStub
from meshkit.keys import ApiKey
from meshkit.rates import Rate
from processes import Mesh, until

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE = "mesh.classifier.v1.ClassifierService"
INFERENCE = "inference.GRPCInferenceService"
TIMEOUT_S = 20.0
MIB = 1024 * 1024


@pytest.fixture
async def channel(mesh: Mesh) -> AsyncIterator[grpc.aio.Channel]:
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(mesh.gateway.address, options) as opened:
        yield opened


async def classify(
    channel: grpc.aio.Channel,
    metadata: tuple[tuple[str, str], ...],
    *texts: str,
    timeout_s: float | None = TIMEOUT_S,
) -> tuple[list[str], dict[str, Any]]:
    """The labels, and the metadata that came after them."""
    stub: Any = ClassifierServiceStub(channel)
    call = stub.Classify(
        classifier_pb2.ClassifyRequest(texts=texts), timeout=timeout_s, metadata=metadata
    )
    response = await call
    labels = [result.classification.label for result in response.results]
    return labels, dict(await call.trailing_metadata())


class TestCalls:
    async def test_a_call_is_passed_on(self, mesh: Mesh, channel: grpc.aio.Channel) -> None:
        labels, trailing = await classify(channel, with_key(mesh.key), "one", "two")
        assert labels == ["one", "two"]
        assert len(trailing["x-request-id"]) == 32
        assert trailing["ratelimit-policy"] == '"key";q=1000;w=1'
        assert trailing["ratelimit"].startswith('"key";r=')

    async def test_the_service_knows_who_asks_by_the_gateways_word(
        self, mesh: Mesh, channel: grpc.aio.Channel
    ) -> None:
        forged = (("x-mesh-key-id", "forged"), ("x-mesh-tenant", "forged"), ("x-mesh-hops", "7"))
        metadata = with_key(mesh.key, *forged, ("x-request-id", "door-1"))
        (said,), trailing = await classify(channel, metadata, "who")
        assert said == f"{mesh.key.id} shop door-1"
        assert trailing["x-request-id"] == "door-1"

    async def test_a_malformed_id_is_replaced(self, mesh: Mesh, channel: grpc.aio.Channel) -> None:
        metadata = with_key(mesh.key, ("x-request-id", "two words"))
        _, trailing = await classify(channel, metadata, "a")
        assert len(trailing["x-request-id"]) == 32

    async def test_the_trace_goes_on(self, mesh: Mesh, channel: grpc.aio.Channel) -> None:
        trace_id = "0af7651916cd43dd8448eb211c80319c"
        parent = ("traceparent", f"00-{trace_id}-b7ad6b7169203331-01")
        assert (await classify(channel, with_key(mesh.key, parent), "trace"))[0] == [trace_id]

    async def test_the_callers_deadline_counts(self, mesh: Mesh, channel: grpc.aio.Channel) -> None:
        (left,), _ = await classify(channel, with_key(mesh.key), "time", timeout_s=3)
        # gRPC writes such a timeout in hundredths of a second, rounded up, at each of two hops.
        assert 0 < float(left) <= 3.02

    async def test_a_caller_without_a_deadline_gets_the_default(
        self, mesh: Mesh, channel: grpc.aio.Channel
    ) -> None:
        (left,), _ = await classify(channel, with_key(mesh.key), "time", timeout_s=None)
        assert 50 < float(left) <= 60

    async def test_nobody_gets_more_than_the_most(
        self, mesh: Mesh, channel: grpc.aio.Channel
    ) -> None:
        (left,), _ = await classify(channel, with_key(mesh.key), "time", timeout_s=10_000)
        assert float(left) <= 600

    async def test_errors_arrive_whole(self, mesh: Mesh, channel: grpc.aio.Channel) -> None:
        error = await failure(classify(channel, with_key(mesh.key), "a", ""))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert error.details() == "texts[1] is empty; send some words"
        assert reason(error) == "INVALID_ARGUMENT"
        error = await failure(classify(channel, with_key(mesh.key), "overloaded"))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        trailing: Any = error.trailing_metadata()
        assert dict(trailing)["grpc-retry-pushback-ms"] == "2500"

    async def test_a_fault_shows_nothing_of_itself(
        self, mesh: Mesh, channel: grpc.aio.Channel
    ) -> None:
        error = await failure(classify(channel, with_key(mesh.key), "fault"))
        assert error.code() is grpc.StatusCode.INTERNAL
        assert "secret" not in str(error.details())

    async def test_bytes_that_are_no_message_are_the_callers_fault(
        self, mesh: Mesh, channel: grpc.aio.Channel
    ) -> None:
        call: Any = channel.unary_unary(f"/{SERVICE}/Classify")
        error = await failure(call(b"\xff", timeout=TIMEOUT_S, metadata=with_key(mesh.key)))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT

    async def test_a_method_that_is_not_there(self, mesh: Mesh, channel: grpc.aio.Channel) -> None:
        for path in (
            "/mesh.classifier.v1.ClassifierService/Nothing",
            "/mesh.dispatch.v1.DispatchService/Dispatch",
        ):
            call: Any = channel.unary_unary(path)
            error = await failure(call(b"", timeout=TIMEOUT_S, metadata=with_key(mesh.key)))
            assert error.code() is grpc.StatusCode.UNIMPLEMENTED

    @pytest.mark.parametrize("over", [-1, 1])
    async def test_requests_are_bounded(
        self, mesh: Mesh, channel: grpc.aio.Channel, over: int
    ) -> None:
        """The limit is that of HTTP; here it is the service that refuses what is below it."""
        call: Any = channel.unary_unary(f"/{SERVICE}/Classify")
        payload = b"\x0a" + _varint(4 * MIB + over - 5) + b"a" * (4 * MIB + over - 5)
        assert len(payload) == 4 * MIB + over
        error = await failure(call(payload, timeout=TIMEOUT_S, metadata=with_key(mesh.key)))
        if over < 0:
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "over 65536 bytes" in str(error.details())
        else:
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert reason(error) == "PAYLOAD_TOO_LARGE"
            assert "the limit is 4194304 (MESH_MAX_MESSAGE_BYTES)" in str(error.details())

    async def test_metadata_is_bounded(self, mesh: Mesh, channel: grpc.aio.Channel) -> None:
        metadata = with_key(mesh.key, ("x-large", "a" * 40 * 1024))
        error = await failure(classify(channel, metadata, "a"))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def _varint(number: int) -> bytes:
    """Four bytes, as numbers up to 2^28 have them."""
    return bytes(
        [number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80, number >> 14 & 0x7F | 0x80, number >> 21]
    )


class TestAdmission:
    @pytest.mark.parametrize(
        ("metadata", "expected"),
        [
            ((), "KEY_MISSING"),
            ((("authorization", "Basic dXNlcjpwYXNz"),), "KEY_MISSING"),
            ((("x-api-key", "secret"),), "KEY_MALFORMED"),
            ((("x-api-key", ApiKey.generate().text),), "KEY_UNKNOWN"),
        ],
    )
    async def test_strangers_are_refused(
        self, channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...], expected: str
    ) -> None:
        error = await failure(classify(channel, metadata, "a"))
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        assert reason(error) == expected

    async def test_a_key_comes_in_two_ways(self, mesh: Mesh, channel: grpc.aio.Channel) -> None:
        metadata = (("x-api-key", mesh.key.text),)
        assert (await classify(channel, metadata, "a"))[0] == ["a"]

    async def test_a_scope_names_a_verb(self, mesh: Mesh, channel: grpc.aio.Channel) -> None:
        key = mesh.make_key(scopes=frozenset({"classifier:read"}))
        error = await failure(classify(channel, with_key(key), "a"))
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        assert reason(error) == "SCOPE_MISSING"
        stub: Any = ClassifierServiceStub(channel)
        model = await stub.GetModel(
            classifier_pb2.GetModelRequest(), timeout=TIMEOUT_S, metadata=with_key(key)
        )
        assert model.lineage.model == "classifier"

    async def test_both_doors_take_from_one_limit(
        self, mesh: Mesh, channel: grpc.aio.Channel
    ) -> None:
        key = mesh.make_key(rate=Rate(2, "h", 2))
        with mesh.client(key) as client:
            assert client.post("/v1/classify", json={"texts": ["a"]}).status_code == 200
        _, trailing = await classify(channel, with_key(key), "a")
        assert trailing["ratelimit"].startswith('"key";r=0;t=')
        error = await failure(classify(channel, with_key(key), "a"))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert reason(error) == "QUOTA_EXCEEDED"
        told: Any = error.trailing_metadata()
        assert "ratelimit" in dict(told)
        status = status_pb2.Status.FromString(dict(told)["grpc-status-details-bin"])
        quota, retry = error_details_pb2.QuotaFailure(), error_details_pb2.RetryInfo()
        assert status.details[1].Unpack(quota)
        assert status.details[2].Unpack(retry)
        assert quota.violations[0].subject == f"key:{key.id}"
        assert 1790 < retry.retry_delay.ToSeconds() <= 1800

    async def test_no_secret_is_written_anywhere(
        self, mesh: Mesh, channel: grpc.aio.Channel
    ) -> None:
        key = mesh.make_key()
        await classify(channel, with_key(key), "a")
        error = await failure(classify(channel, with_key(ApiKey(key.id, key.text + "x")), "a"))
        secret = key.text.rpartition("_")[2]
        told = f"{error.details()}{error.trailing_metadata()}"
        assert secret not in told + mesh.gateway.log + mesh.gateway.metrics() + mesh.service.log

    async def test_every_call_leaves_a_line_in_the_log(
        self, mesh: Mesh, channel: grpc.aio.Channel
    ) -> None:
        await classify(channel, with_key(mesh.key, ("x-request-id", "line-of-a-call")), "a")
        metadata = (("x-request-id", "line-of-a-refusal"),)
        await failure(classify(channel, metadata, "a"))
        lines = {"line-of-a-call": 200, "line-of-a-refusal": 401}
        await asyncio.to_thread(
            until, lambda: all(each in mesh.gateway.log for each in lines), "the lines"
        )
        for request_id, status in lines.items():
            (line,) = [each for each in mesh.gateway.log.splitlines() if request_id in each]
            assert f'"message":"GRPC {SERVICE}/Classify {status}"' in line
            assert '"client":"ipv4:127.0.0.1:' in line


class TestInference:
    async def test_a_model_is_asked_by_its_name(
        self, mesh: Mesh, channel: grpc.aio.Channel
    ) -> None:
        stub: Any = GRPCInferenceServiceStub(channel)
        request = inference_pb2.ModelMetadataRequest(name="classifier")
        model = await stub.ModelMetadata(request, timeout=TIMEOUT_S, metadata=with_key(mesh.key))
        assert model.name == "classifier"
        assert [tensor.name for tensor in model.inputs] == ["text"]

    async def test_tensors_are_passed_on(self, mesh: Mesh, channel: grpc.aio.Channel) -> None:
        stub: Any = GRPCInferenceServiceStub(channel)
        request = inference_pb2.ModelInferRequest(
            model_name="classifier",
            id="mine",
            inputs=[
                inference_pb2.ModelInferRequest.InferInputTensor(
                    name="text",
                    datatype="BYTES",
                    shape=[2],
                    contents=inference_pb2.InferTensorContents(bytes_contents=[b"one", b"two"]),
                )
            ],
            outputs=[inference_pb2.ModelInferRequest.InferRequestedOutputTensor(name="label")],
        )
        answer = await stub.ModelInfer(request, timeout=TIMEOUT_S, metadata=with_key(mesh.key))
        assert answer.id == "mine"
        assert [output.name for output in answer.outputs] == ["label"]
        assert list(answer.outputs[0].contents.bytes_contents) == [b"one", b"two"]

    async def test_a_model_that_is_not_there(self, mesh: Mesh, channel: grpc.aio.Channel) -> None:
        stub: Any = GRPCInferenceServiceStub(channel)
        request = inference_pb2.ModelInferRequest(model_name="weather")
        error = await failure(
            stub.ModelInfer(request, timeout=TIMEOUT_S, metadata=with_key(mesh.key))
        )
        assert error.code() is grpc.StatusCode.NOT_FOUND
        assert error.details() == "there is no model 'weather'; there is classifier"
        error = await failure(stub.ModelInfer(request, timeout=TIMEOUT_S))
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED

    async def test_the_gateway_speaks_for_itself_without_a_key(
        self, channel: grpc.aio.Channel
    ) -> None:
        stub: Any = GRPCInferenceServiceStub(channel)
        live = await stub.ServerLive(inference_pb2.ServerLiveRequest(), timeout=TIMEOUT_S)
        ready = await stub.ServerReady(inference_pb2.ServerReadyRequest(), timeout=TIMEOUT_S)
        about = await stub.ServerMetadata(inference_pb2.ServerMetadataRequest(), timeout=TIMEOUT_S)
        assert (live.live, ready.ready) == (True, True)
        assert about.name == "inference-mesh"


class TestHealth:
    @pytest.mark.parametrize("name", ["", SERVICE, INFERENCE])
    async def test_health_needs_no_key(self, channel: grpc.aio.Channel, name: str) -> None:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        check = health_pb2.HealthCheckRequest(service=name)
        assert (await stub.Check(check, timeout=TIMEOUT_S)).status == SERVING

    async def test_a_service_that_is_not_there(self, channel: grpc.aio.Channel) -> None:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        check = health_pb2.HealthCheckRequest(service="mesh.weather.v1.WeatherService")
        error = await failure(stub.Check(check, timeout=TIMEOUT_S))
        assert error.code() is grpc.StatusCode.NOT_FOUND

    async def test_a_watch_follows_the_service_and_the_drain(self, own_mesh: Mesh) -> None:
        async with grpc.aio.insecure_channel(own_mesh.gateway.address) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            watches = {
                name: stub.Watch(health_pb2.HealthCheckRequest(service=name), timeout=TIMEOUT_S)
                for name in ("", SERVICE)
            }
            for watch in watches.values():
                assert (await watch.read()).status == SERVING
            own_mesh.service.kill()
            assert (await watches[SERVICE].read()).status == NOT_SERVING
            own_mesh.gateway.signal(signal.SIGTERM)
            assert (await watches[""].read()).status == NOT_SERVING
            with ThreadPoolExecutor(1) as thread:
                assert await asyncio.wrap_future(thread.submit(own_mesh.gateway.wait)) == 0


async def test_without_redis_the_door_is_as_the_other(own_mesh: Mesh) -> None:
    async with grpc.aio.insecure_channel(own_mesh.gateway.address) as channel:
        assert (await classify(channel, with_key(own_mesh.key), "a"))[0] == ["a"]
        own_mesh.redis.kill()
        assert (await classify(channel, with_key(own_mesh.key), "a"))[0] == ["a"]
        stranger = (("x-api-key", ApiKey.generate().text),)
        error = await failure(classify(channel, stranger, "a"))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert reason(error) == "KEY_STORE_UNAVAILABLE"
