"""The embedder asked with tensors, over a real gRPC server in this process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any, cast

import grpc
import numpy as np
import pytest

from inference.open_inference_grpc_pb2 import ModelInferRequest, ModelInferResponse
from inference.open_inference_grpc_pb2_grpc import GRPCInferenceServiceStub
from mesh_embedder import oip
from mesh_embedder.inputs import Wish
from mesh_embedder.model import Embedder
from mesh_embedder.network import Network
from mesh_embedder.servicer import Served
from mesh_embedder.settings import Settings
from meshkit import oip_service
from meshkit.oip import parameters_of
from meshkit.oip_codec import Tensor, add_inputs, outputs_of
from meshkit.server import GrpcServer
from ports import free_port
from support import ABOUT, CALL_S, DIMENSIONS, TEXTS, TOLERANCE, serving, vectors


@asynccontextmanager
async def connected(embedder: Embedder) -> AsyncIterator[Any]:
    given: dict[str, Any] = {"models_path": "/nowhere", "grpc_port": free_port()}
    settings = Settings(**given)
    served = Served(embedder, ABOUT)
    model = oip.model("embedder", DIMENSIONS, lambda: nullcontext(served))
    server = GrpcServer(settings, [oip_service.service(model)])
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel:
        yield GRPCInferenceServiceStub(channel)
    await server.stop(CALL_S)


def asking(*texts: str | bytes, raw: bool = True, **parameters: bool | str) -> ModelInferRequest:
    request = ModelInferRequest(model_name="embedder", id="7")
    encoded = [text.encode() if isinstance(text, str) else text for text in texts]
    add_inputs(request, [Tensor.of("text", "BYTES", encoded)], raw=raw)
    for name, value in parameters.items():
        if isinstance(value, bool):
            request.parameters[name].bool_param = value
        else:
            request.parameters[name].string_param = value
    return request


async def infer(stub: Any, request: ModelInferRequest) -> ModelInferResponse:
    return cast(ModelInferResponse, await stub.ModelInfer(request, timeout=CALL_S))


@pytest.mark.parametrize("raw", [True, False])
async def test_tensors_say_what_the_model_says(network: Network, raw: bool) -> None:
    async with serving(network) as (embedder, _), connected(embedder) as stub:
        response = await infer(stub, asking(*TEXTS, raw=raw))
        said = await embedder.embed("", TEXTS, Wish())
    outputs = outputs_of(response)
    assert outputs["embedding"].array.shape == (len(TEXTS), DIMENSIONS)
    np.testing.assert_allclose(outputs["embedding"].array, vectors(said), rtol=0, atol=TOLERANCE)
    assert outputs["truncated"].array.tolist() == [text.startswith("word") for text in TEXTS]
    assert bool(response.raw_output_contents) == raw
    assert (response.id, response.model_version) == ("7", "1")
    assert parameters_of(response.parameters) == {
        "model": "embedder",
        "version": "1",
        "variant": "canary",
        "run": "run-1",
        "deployment": "test",
        "tokens": sum(each.tokens for each in said if not isinstance(each, Exception)),
    }


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (asking("good", b"caf\xe9"), "text[1] is not valid UTF-8 (byte 3); send text in UTF-8"),
        (asking("good", ""), "text[1] is empty; send a text, or leave it out"),
        (asking(*["a"] * 13), "text has 13 inputs and may have 12"),
        (asking("a " * 300, truncate=False), "text[0] has 302 tokens and may have 256"),
        (asking("good", truncate="no"), "parameters[truncate] is 'no'; send true or false"),
    ],
)
async def test_bad_input_names_the_text(
    network: Network, request_: ModelInferRequest, words: str
) -> None:
    async with serving(network) as (embedder, _), connected(embedder) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await infer(stub, request_)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert words in (caught.value.details() or "")


async def test_a_text_that_the_model_fails_on_fails_the_request(network: Network) -> None:
    def run(bucket: int, inputs: Any) -> Any:
        if any(each.content == "unbearable" for each in inputs):
            raise FloatingPointError
        return network.embed(bucket, inputs)

    async with serving(network, run) as (embedder, _), connected(embedder) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await infer(stub, asking("ok", "unbearable"))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert caught.value.details() == "text[1]: the model failed on this input"
