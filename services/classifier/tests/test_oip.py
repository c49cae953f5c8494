"""The classifier asked with tensors, over a real gRPC server in this process."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any, cast

import grpc
import numpy as np
import pytest

from inference.open_inference_grpc_pb2 import (
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataRequest,
)
from inference.open_inference_grpc_pb2_grpc import GRPCInferenceServiceStub
from mesh_classifier import oip
from mesh_classifier.answers import Classification
from mesh_classifier.calibration import LABELS
from mesh_classifier.model import Classifier
from mesh_classifier.network import Network
from mesh_classifier.servicer import Lease, Served
from mesh_classifier.settings import Settings
from meshkit import deadline, oip_service
from meshkit.deadline import Deadline
from meshkit.oip import parameters_of
from meshkit.oip_codec import Tensor, add_inputs, outputs_of
from meshkit.server import GrpcServer
from ports import free_port
from support import ABOUT, CALL_S, MAX_TEXTS, TEXTS, UNBEARABLE, Held, serving

LINEAGE = {
    "model": "classifier",
    "version": "1",
    "variant": "canary",
    "run": "run-1",
    "deployment": "test",
}


@asynccontextmanager
async def connected(lease: Lease) -> AsyncIterator[Any]:
    given: dict[str, Any] = {"models_path": "/nowhere", "grpc_port": free_port()}
    settings = Settings(**given)
    server = GrpcServer(settings, [oip_service.service(oip.model("classifier", lease))])
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel:
        yield GRPCInferenceServiceStub(channel)
    await server.stop(CALL_S)


def of(classifier: Classifier) -> Lease:
    """A lease of the one version that there is."""
    return lambda: nullcontext(Served(classifier, ABOUT))


def asking(*texts: str | bytes, raw: bool = True, **parameters: bool | str) -> ModelInferRequest:
    request = ModelInferRequest(model_name="classifier", id="7")
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


async def refusal(
    network: Network, request: ModelInferRequest
) -> tuple[grpc.StatusCode, str | None]:
    async with serving(network) as (classifier, _), connected(of(classifier)) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await infer(stub, request)
    return caught.value.code(), caught.value.details()


@pytest.mark.parametrize("raw", [True, False])
async def test_tensors_say_what_the_model_says(fp32: Network, raw: bool) -> None:
    async with serving(fp32) as (classifier, _), connected(of(classifier)) as stub:
        response = await infer(stub, asking(*TEXTS, raw=raw))
        with deadline.scope(Deadline.after(CALL_S)):
            said = await classifier.classify(TEXTS, allow_degraded=False)
    outputs = outputs_of(response)
    expected = [each for each in said if isinstance(each, Classification)]
    assert len(expected) == len(TEXTS)
    assert outputs["label"].array.tolist() == [each.label.encode() for each in expected]
    probabilities = np.array([each.probabilities for each in expected], np.float32)
    assert probabilities.shape == (len(TEXTS), len(LABELS))
    # Alone and among neighbours an answer differs in its last digits.
    np.testing.assert_allclose(outputs["probabilities"].array, probabilities, atol=1e-5)
    valences = np.array([each.valence for each in expected], np.float32)
    np.testing.assert_allclose(outputs["valence"].array, valences, atol=1e-4)
    assert outputs["truncated"].array.tolist() == [each.truncated for each in expected]
    assert outputs["truncated"].array.any()
    assert outputs["degraded"].array.tolist() == [False] * len(TEXTS)
    assert bool(response.raw_output_contents) == raw
    assert response.id == "7"
    assert response.model_version == "1"
    assert parameters_of(response.parameters) == LINEAGE


async def test_a_column_of_texts_is_taken_too(fp32: Network) -> None:
    request = asking("A delight.", "A bore.")
    request.inputs[0].shape.append(1)
    async with serving(fp32) as (classifier, _), connected(of(classifier)) as stub:
        outputs = outputs_of(await infer(stub, request))
    assert outputs["label"].array.tolist() == [b"positive", b"negative"]


async def test_says_what_it_takes_and_gives(fp32: Network) -> None:
    async with serving(fp32) as (classifier, _), connected(of(classifier)) as stub:
        told = await stub.ModelMetadata(ModelMetadataRequest(name="classifier"), timeout=CALL_S)
    assert (told.name, list(told.versions), told.platform) == (
        *("classifier", ["1"]),
        "onnx_onnxruntime",
    )
    tensors = [(each.name, each.datatype, list(each.shape)) for each in told.outputs]
    assert [(each.name, each.datatype, list(each.shape)) for each in told.inputs] == [
        ("text", "BYTES", [-1])
    ]
    assert tensors == [
        ("label", "BYTES", [-1]),
        ("probabilities", "FP32", [-1, 3]),
        ("valence", "FP32", [-1]),
        ("truncated", "BOOL", [-1]),
        ("degraded", "BOOL", [-1]),
    ]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (asking("good", b"caf\xe9"), "text[1] is not valid UTF-8 (byte 3); send text in UTF-8"),
        (asking("good", ""), "text[1] is empty; send a text, or leave it out"),
        (asking(" \n"), "text[0] has nothing but white space"),
        (asking("a" * (64 * 1024 + 1)), "text[0] has 65537 bytes of UTF-8 and may have 65536"),
        (asking(*["a"] * (MAX_TEXTS + 1)), "text has 13 texts and may have 12"),
        (
            asking("good", allow_degraded="yes"),
            "parameters[allow_degraded] is 'yes'; send true or false",
        ),
    ],
)
async def test_bad_input_names_the_text(
    fp32: Network, request_: ModelInferRequest, words: str
) -> None:
    code, message = await refusal(fp32, request_)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert message is not None
    assert words in message


async def test_a_text_that_the_model_fails_on_fails_the_request(broken: Network) -> None:
    code, message = await refusal(broken, asking("A delight.", UNBEARABLE))
    assert code is grpc.StatusCode.INTERNAL
    assert message == (
        "text[1]: the model failed on this text; allow_degraded lets a lexicon rule answer instead"
    )


async def test_a_fallback_answers_where_it_is_allowed(broken: Network) -> None:
    request = asking("A delight.", f"{UNBEARABLE} love", f"{UNBEARABLE} hate", allow_degraded=True)
    async with serving(broken) as (classifier, _), connected(of(classifier)) as stub:
        response = await infer(stub, request)
    outputs = outputs_of(response)
    assert outputs["degraded"].array.tolist() == [False, True, True]
    assert outputs["label"].array.tolist() == [b"positive", b"positive", b"negative"]
    assert parameters_of(response.parameters) == {
        **LINEAGE,
        "degraded_reason": "the model failed on this text; the VADER lexicon rule answered",
    }


async def test_one_version_makes_all_of_an_answer(fp32: Network) -> None:
    held = Held(fp32)
    async with serving(fp32, run=held) as (old, _), serving(fp32) as (new, _):
        newer = replace(ABOUT, lineage=replace(ABOUT.lineage, version="2"))
        versions = [Served(old, ABOUT), Served(new, newer)]
        held_versions: list[Served] = []

        @contextmanager
        def lease() -> Iterator[Served]:
            held_versions.append(versions[0])
            yield versions[0]
            held_versions.pop()

        async with connected(lease) as stub:
            first = asyncio.ensure_future(infer(stub, asking("A delight.")))
            await held.begun.wait()
            del versions[0]
            assert (await infer(stub, asking("A delight."))).model_version == "2"
            assert [each.about.lineage.version for each in held_versions] == ["1"]
            held.go_on.set()
            answer = await first
    assert answer.model_version == "1"
    assert parameters_of(answer.parameters) == LINEAGE
    assert not held_versions
