"""A model served by the protocol, as a stock gRPC client and the dispatch stream ask it."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2

from conftest import EchoSettings, until
from inference.open_inference_grpc_pb2 import (
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataRequest,
    ModelReadyRequest,
    ServerLiveRequest,
    ServerMetadataRequest,
    ServerReadyRequest,
)
from inference.open_inference_grpc_pb2_grpc import GRPCInferenceServiceStub
from meshkit import deadline
from meshkit.client import Client
from meshkit.deadline import Deadline
from meshkit.errors import InvalidArgument, NotFound
from meshkit.oip import Parameter, Signature, TensorSpec, parameters_of
from meshkit.oip_codec import Tensor, add_inputs, outputs_of
from meshkit.oip_service import Inferred, Model, service
from meshkit.server import GrpcServer
from ports import free_port

CALL_S = 10.0
SIGNATURE = Signature(
    inputs=(TensorSpec("x", "FP32", (-1,)), TensorSpec("table", "INT32", (-1, 2))),
    outputs=(
        TensorSpec("double", "FP32", (-1,)),
        TensorSpec("sums", "INT64", (-1,)),
        TensorSpec("names", "BYTES", (-1,)),
    ),
)
X = Tensor.of("x", "FP32", [0.5, 1.5, 2.5])
TABLE = Tensor.of("table", "INT32", [[1, 2], [3, 4]])


class Doubler:
    """Doubles `x`, sums the rows of `table`, names its input shapes; remembers its leases."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.held = 0
        self.shapes: dict[str, tuple[int, ...]] = {}

    @contextmanager
    def lease(self) -> Iterator["Doubler"]:
        self.held += 1
        try:
            yield self
        finally:
            self.held -= 1

    async def infer(
        self, inputs: Mapping[str, Tensor], parameters: Mapping[str, Parameter]
    ) -> Inferred:
        assert self.held == 1
        self.shapes = {name: tensor.array.shape for name, tensor in inputs.items()}
        outputs = [
            Tensor("names", "BYTES", np.array([b"a", "\u00e9".encode()], object)),
            Tensor("double", "FP32", inputs["x"].array * np.float32(2)),
            Tensor("sums", "INT64", inputs["table"].array.sum(axis=1, dtype=np.int64)),
        ]
        return outputs, {"seen": ", ".join(sorted(parameters)), "count": len(parameters)}


Stub = Any


@pytest.fixture
def doubler() -> Doubler:
    return Doubler("v7")


@asynccontextmanager
async def serving(doubler: Doubler) -> AsyncIterator[str]:
    chosen: dict[str, Any] = {"grpc_port": free_port(), "admin_port": free_port()}
    model = Model("doubler", "numpy", SIGNATURE, doubler.lease)
    server = GrpcServer(EchoSettings(**chosen), [service(model)])
    await server.start()
    yield f"127.0.0.1:{chosen['grpc_port']}"
    await server.stop(0)


@pytest.fixture
async def stub(doubler: Doubler) -> AsyncIterator[Stub]:
    async with serving(doubler) as address, grpc.aio.insecure_channel(address) as channel:
        yield GRPCInferenceServiceStub(channel)


def request(*tensors: Tensor, raw: bool = True, outputs: tuple[str, ...] = ()) -> ModelInferRequest:
    made = ModelInferRequest(model_name="doubler")
    add_inputs(made, tensors or (X, TABLE), raw=raw)
    for name in outputs:
        made.outputs.add(name=name)
    return made


async def infer(stub: Stub, asked: ModelInferRequest) -> ModelInferResponse:
    return cast(ModelInferResponse, await stub.ModelInfer(asked, timeout=CALL_S))


async def refusal(call: Any) -> tuple[grpc.StatusCode, str, str, list[str]]:
    """Status, reason, message and fields at fault of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    trailing: dict[str, Any] = dict(cast(Any, caught.value.trailing_metadata()))
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
    fields = [violation.field for violation in bad.field_violations]
    return caught.value.code(), info.reason, str(caught.value.details()), fields


async def test_says_that_it_lives_and_is_ready(stub: Stub) -> None:
    assert (await stub.ServerLive(ServerLiveRequest(), timeout=CALL_S)).live
    assert (await stub.ServerReady(ServerReadyRequest(), timeout=CALL_S)).ready
    for version in ("", "v7"):
        asked = ModelReadyRequest(name="doubler", version=version)
        assert (await stub.ModelReady(asked, timeout=CALL_S)).ready


async def test_says_what_serves(stub: Stub) -> None:
    told = await stub.ServerMetadata(ServerMetadataRequest(), timeout=CALL_S)
    assert (told.name, told.version, list(told.extensions)) == ("meshkit", "0.1.0", [])


@pytest.mark.parametrize("version", ["", "v7"])
async def test_describes_its_model(stub: Stub, version: str) -> None:
    asked = ModelMetadataRequest(name="doubler", version=version)
    told = await stub.ModelMetadata(asked, timeout=CALL_S)
    assert (told.name, list(told.versions), told.platform) == ("doubler", ["v7"], "numpy")
    assert [(each.name, each.datatype, list(each.shape)) for each in told.inputs] == [
        ("x", "FP32", [-1]),
        ("table", "INT32", [-1, 2]),
    ]
    assert [(each.name, each.datatype, list(each.shape)) for each in told.outputs] == [
        ("double", "FP32", [-1]),
        ("sums", "INT64", [-1]),
        ("names", "BYTES", [-1]),
    ]


@pytest.mark.parametrize("raw", [True, False])
async def test_answers_in_the_form_of_the_question(stub: Stub, raw: bool) -> None:
    response = await infer(stub, request(raw=raw))
    assert bool(response.raw_output_contents) == raw
    assert all(output.HasField("contents") != raw for output in response.outputs)
    outputs = outputs_of(response)
    assert {name: tensor.array.tolist() for name, tensor in outputs.items()} == {
        "double": [1.0, 3.0, 5.0],
        "sums": [3, 7],
        "names": [b"a", b"\xc3\xa9"],
    }
    assert list(outputs) == ["double", "sums", "names"]
    assert (response.model_name, response.model_version) == ("doubler", "v7")


async def test_the_dispatch_stream_says_the_same(doubler: Doubler) -> None:
    async with (
        serving(doubler) as address,
        Client("doubler", address, max_message_bytes=2**20) as client,
    ):
        await until(lambda: client.serving)
        stub: Stub = client.stub(cast(Any, GRPCInferenceServiceStub))
        with deadline.scope(Deadline.after(CALL_S)):
            response = await stub.ModelInfer(request())
            assert outputs_of(response)["double"].array.tolist() == [1.0, 3.0, 5.0]
            with pytest.raises(NotFound) as caught:
                await stub.ModelReady(ModelReadyRequest(name="trebler"))
            assert caught.value.reason == "MODEL_NOT_FOUND"
            with pytest.raises(InvalidArgument) as invalid:
                await stub.ModelInfer(request(X))
            assert invalid.value.violations[0].field == "table"


async def test_only_the_outputs_that_are_asked_for_in_that_order(stub: Stub) -> None:
    response = await infer(stub, request(outputs=("names", "double")))
    assert list(outputs_of(response)) == ["names", "double"]
    assert len(response.raw_output_contents) == 2


async def test_the_order_of_the_inputs_does_not_matter(stub: Stub) -> None:
    outputs = outputs_of(await infer(stub, request(TABLE, X)))
    assert outputs["sums"].array.tolist() == [3, 7]


async def test_the_id_comes_back_and_parameters_go_both_ways(stub: Stub) -> None:
    asked = request()
    asked.id = "order \u00e9"
    asked.parameters["priority"].int64_param = 3
    asked.parameters["allow"].bool_param = True
    response = await infer(stub, asked)
    assert response.id == "order \u00e9"
    assert parameters_of(response.parameters) == {"seen": "allow, priority", "count": 2}


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
async def test_a_column_is_also_a_row(stub: Stub, doubler: Doubler, shape: tuple[int, ...]) -> None:
    column = Tensor("x", "FP32", X.array.reshape(shape))
    response = await infer(stub, request(column, TABLE))
    assert doubler.shapes == {"x": (3,), "table": (2, 2)}
    assert outputs_of(response)["double"].array.tolist() == [1.0, 3.0, 5.0]


async def test_a_version_is_let_go_after_its_call(stub: Stub, doubler: Doubler) -> None:
    await infer(stub, request())
    await refusal(infer(stub, request(X)))
    assert doubler.held == 0


@pytest.mark.parametrize("method", ["ModelReady", "ModelMetadata", "ModelInfer"])
async def test_another_model_or_version_is_not_found(stub: Stub, method: str) -> None:
    kinds: dict[str, Any] = {
        "ModelReady": lambda name, version: ModelReadyRequest(name=name, version=version),
        "ModelMetadata": lambda name, version: ModelMetadataRequest(name=name, version=version),
        "ModelInfer": lambda name, version: ModelInferRequest(
            model_name=name, model_version=version
        ),
    }
    call = getattr(stub, method)
    code, reason, message, _ = await refusal(call(kinds[method]("trebler", ""), timeout=CALL_S))
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    assert message == "there is no model 'trebler' here; ask for 'doubler'"
    code, reason, message, _ = await refusal(call(kinds[method]("doubler", "v6"), timeout=CALL_S))
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "VERSION_NOT_FOUND")
    assert message == (
        "the version 'v6' of doubler is not served; ask for 'v7', or for none to get what serves"
    )


def again(name: str, *tensors: Tensor) -> ModelInferRequest:
    asked = request(*tensors)
    for tensor in asked.inputs:
        tensor.name = name
    return asked


def with_id(size: int) -> ModelInferRequest:
    asked = request()
    asked.id = "\u00e9" * (size // 2)
    return asked


@pytest.mark.parametrize(
    ("asked", "field", "words"),
    [
        (request(X), "table", "table is missing; the model takes x, table"),
        (ModelInferRequest(model_name="doubler"), "x", "x is missing"),
        (
            request(X, TABLE, Tensor.of("y", "FP32", [1.0])),
            *("y", "y is no input; the model takes x, table"),
        ),
        (again("x", X, TABLE), "x", "x is an input twice"),
        (
            request(Tensor.of("x", "FP64", [1.0]), TABLE),
            *("x", "x is FP64; the model takes FP32"),
        ),
        (
            request(Tensor.of("x", "FP32", [[1.0, 2.0]]), TABLE),
            *("x", "x has the shape [1, 2]; the model takes [-1]"),
        ),
        (
            request(Tensor.of("x", "FP32", [[[1.0]]]), TABLE),
            *("x", "x has the shape [1, 1, 1]; the model takes [-1]"),
        ),
        (request(Tensor("x", "FP32", np.zeros((), np.float32)), TABLE), "x", "the shape []"),
        (
            request(X, Tensor.of("table", "INT32", [[1, 2, 3]])),
            *("table", "table has the shape [1, 3]; the model takes [-1, 2]"),
        ),
        (request(X, Tensor.of("table", "INT32", [1, 2])), "table", "has the shape [2]; the model"),
        (
            request(outputs=("double", "triple")),
            *("outputs[1]", "outputs[1] is 'triple'; choose from double, sums, names"),
        ),
        (
            request(outputs=("sums", "double", "sums")),
            *("outputs[2]", "outputs[2] is 'sums' again; ask for it once"),
        ),
        (with_id(1026), "id", "id has over 1024 bytes of UTF-8; send a shorter one"),
    ],
)
async def test_bad_requests_name_what_is_wrong(
    stub: Stub, asked: ModelInferRequest, field: str, words: str
) -> None:
    code, reason, message, fields = await refusal(infer(stub, asked))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    assert fields == [field]
    assert words in message


async def test_an_id_may_have_a_kibibyte(stub: Stub) -> None:
    assert len((await infer(stub, with_id(1024))).id.encode()) == 1024


async def test_what_the_codec_refuses_reaches_the_caller(stub: Stub) -> None:
    asked = request()
    asked.raw_input_contents[0] += b"\0"
    code, _, message, fields = await refusal(infer(stub, asked))
    assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["x"])
    assert "x has 13 bytes and its shape takes 12 of FP32" in message
