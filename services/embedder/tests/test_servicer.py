"""The messages of the service, over a real gRPC server in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any, cast

import grpc
import numpy as np
import pytest

from mesh.embedding.v1 import embedding_pb2, embedding_pb2_grpc
from mesh.embedding.v1.embedding_pb2 import EmbedInput, EmbedRequest, TokenIds
from mesh_embedder.model import Embedder
from mesh_embedder.network import Network
from mesh_embedder.servicer import EmbeddingServicer, Served
from mesh_embedder.settings import Settings
from meshkit.server import GrpcServer, Service
from meshkit.swap import Refusal
from ports import free_port
from support import ABOUT, CALL_S, CAT_IDS, TEXTS, TOLERANCE, Held, serving, until

REFUSAL = Refusal("2", "it can't be served", datetime(2026, 1, 3, tzinfo=UTC))


@asynccontextmanager
async def connected(
    embedder: Embedder,
) -> AsyncIterator["embedding_pb2_grpc.EmbeddingServiceAsyncStub"]:
    given: dict[str, Any] = {"models_path": "/nowhere", "grpc_port": free_port()}
    settings = Settings(**given)
    served = Served(embedder, ABOUT)
    servicer = EmbeddingServicer(lambda: nullcontext(served), lambda: REFUSAL)
    service = Service(embedding_pb2_grpc.add_EmbeddingServiceServicer_to_server, servicer)
    server = GrpcServer(settings, [service])
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel:
        # One generated class serves both kinds of channel, and its types tell them apart.
        yield cast(Any, embedding_pb2_grpc.EmbeddingServiceStub(channel))
    await server.stop(CALL_S)


def texts(*contents: str) -> list[EmbedInput]:
    return [EmbedInput(text=content) for content in contents]


async def test_texts_and_token_ids_are_answered_in_their_order(network: Network) -> None:
    inputs = [*texts(*TEXTS[1:]), EmbedInput(token_ids=TokenIds(ids=CAT_IDS)), *texts(TEXTS[0])]
    async with serving(network) as (embedder, _), connected(embedder) as stub:
        response = await stub.Embed(EmbedRequest(inputs=inputs), timeout=CALL_S)
        one = await stub.Embed(EmbedRequest(inputs=texts(TEXTS[1])), timeout=CALL_S)
    results = [result.embedding for result in response.results]
    assert len(results) == len(inputs)
    np.testing.assert_allclose(
        results[0].values, one.results[0].embedding.values, rtol=0, atol=TOLERANCE
    )
    np.testing.assert_allclose(results[-2].values, results[-1].values, rtol=0, atol=TOLERANCE)
    assert [each.truncated for each in results] == [
        text.startswith("word") for text in TEXTS[1:]
    ] + [
        False,
        False,
    ]
    assert [each.tokens for each in results[-3:]] == [256, 9, 9]
    assert response.usage.tokens == sum(each.tokens for each in results)
    assert response.lineage == ABOUT.lineage.to_proto()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (EmbedRequest(), "inputs is empty; send one input at least"),
        (
            EmbedRequest(inputs=[*texts("a"), EmbedInput()]),
            "inputs[1] is unset; send text or token_ids",
        ),
        (
            EmbedRequest(inputs=[EmbedInput(token_ids=TokenIds())]),
            "inputs[0] is empty; send a token at least, or leave it out",
        ),
        (
            EmbedRequest(inputs=texts("a"), dimensions=0),
            "dimensions is 0; all-MiniLM-L6-v2 has 384",
        ),
        (
            EmbedRequest(inputs=texts("a"), max_tokens=-1),
            "max_tokens is -1; send 3 to 256, or leave it out",
        ),
        (
            EmbedRequest(
                inputs=texts("a b c"), max_tokens=4, truncation=embedding_pb2.TRUNCATION_REFUSE
            ),
            "inputs[0] has 5 tokens and may have 4; send a part of it",
        ),
        (
            # An open enumeration holds what this release does not know.
            EmbedRequest.FromString(
                EmbedRequest(inputs=texts("a")).SerializeToString() + b"\x20\x07"
            ),
            "truncation is 7, which is none of its values; send TRUNCATION_END or _REFUSE",
        ),
    ],
)
async def test_bad_input_is_told_in_full(
    network: Network, request_: EmbedRequest, message: str
) -> None:
    async with serving(network) as (embedder, _), connected(embedder) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Embed(request_, timeout=CALL_S)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details() == message


@pytest.mark.parametrize(
    "rule", [embedding_pb2.TRUNCATION_UNSPECIFIED, embedding_pb2.TRUNCATION_END]
)
async def test_the_beginning_counts_unless_it_is_said_otherwise(
    network: Network, rule: embedding_pb2.Truncation.ValueType
) -> None:
    request = EmbedRequest(inputs=texts("a b c"), max_tokens=4, truncation=rule)
    async with serving(network) as (embedder, _), connected(embedder) as stub:
        response = await stub.Embed(request, timeout=CALL_S)
    (result,) = response.results
    assert (result.embedding.truncated, result.embedding.tokens) == (True, 4)


async def test_an_item_that_the_model_fails_on_has_an_error_of_its_own(network: Network) -> None:
    def run(bucket: int, inputs: Any) -> Any:
        if any(each.content == "unbearable" for each in inputs):
            raise FloatingPointError
        return network.embed(bucket, inputs)

    async with serving(network, run) as (embedder, _), connected(embedder) as stub:
        response = await stub.Embed(EmbedRequest(inputs=texts("ok", "unbearable")), timeout=CALL_S)
    good, bad = response.results
    assert good.WhichOneof("outcome") == "embedding"
    assert (bad.error.code, bad.error.reason, bad.error.retryable) == (13, "MODEL_FAILED", False)
    assert response.usage.tokens == good.embedding.tokens


async def test_describes_the_version_that_serves(network: Network) -> None:
    async with serving(network) as (embedder, _), connected(embedder) as stub:
        model = await stub.GetModel(embedding_pb2.GetModelRequest(), timeout=CALL_S)
    assert model.lineage.variant == "canary"
    assert (model.name, model.dimensions, list(model.allowed_dimensions)) == (
        *("all-MiniLM-L6-v2", 384),
        [384],
    )
    assert (model.max_tokens, model.max_inputs, model.precision) == (256, 12, "fp32")
    assert dict(model.metrics) == {"min_cosine": 0.99999}
    assert model.serving_since.ToDatetime(UTC) == ABOUT.serving_since
    assert (model.refused.version, model.refused.reason) == ("2", "it can't be served")
    tensors = {
        each.name: (each.datatype, list(each.shape))
        for each in [*model.signature.inputs, *model.signature.outputs]
    }
    assert tensors == {
        "text": ("BYTES", [-1]),
        "embedding": ("FP32", [-1, 384]),
        "truncated": ("BOOL", [-1]),
    }


async def test_a_call_that_is_cancelled_while_it_waits_costs_no_run(network: Network) -> None:
    held = Held(network)
    async with (
        serving(network, held, max_batch_size=1) as (embedder, batcher),
        connected(embedder) as stub,
    ):
        first = stub.Embed(EmbedRequest(inputs=texts("first")), timeout=CALL_S)
        await held.begun.wait()
        leaver = stub.Embed(EmbedRequest(inputs=texts("left")), timeout=CALL_S)
        await until(lambda: batcher.queued == 1)
        leaver.cancel()
        await until(lambda: batcher.queued == 0)
        held.go_on.set()
        await first
        with pytest.raises(asyncio.CancelledError):
            await leaver
    assert held.seen == ["first"]
