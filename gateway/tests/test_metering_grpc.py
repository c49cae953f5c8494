"""Token limits and budgets at the gRPC door: the same accounts as over HTTP."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import ParseDict

from inference import open_inference_grpc_pb2 as inference_pb2
from inference.open_inference_grpc_pb2_grpc import GRPCInferenceServiceStub
from llm_mesh import LlmMesh, RoutedMesh
from mesh.embedding.v1 import embedding_pb2, embedding_pb2_grpc
from mesh.llm.v1 import llm_pb2, llm_pb2_grpc
from mesh_gateway.backends import methods
from mesh_gateway.contracts import CONTRACTS
from mesh_gateway.grpc_door.metered import METHODS
from meshkit import names
from meshkit.allowance import Allowance
from meshkit.errors import BUDGET, TOKEN_LIMIT, MeshError
from meshkit.key_records import Tenant
from meshkit.keys import ApiKey
from meshkit.ledger import Usage
from meshkit.renderings import from_status
from metered import cost, key_with, reserved, spent, until_settled, used
from processes import PATIENCE_S, until

# They run no model, so they have no tokens to be counted.
WITHOUT_TOKENS = {
    "mesh.embedding.v1.EmbeddingService/GetModel",
    "mesh.llm.v1.LlmService/GetModel",
    "mesh.llm.v1.LlmService/Tokenize",
}


@pytest.fixture
def mesh(llm_mesh: RoutedMesh) -> RoutedMesh:
    return llm_mesh


@pytest.fixture
def channel(mesh: LlmMesh) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(mesh.gateway.address) as opened:
        yield opened


def chat(script: str, **sampling: int) -> llm_pb2.ChatRequest:
    message = {"role": "ROLE_USER", "content": [{"text": script}]}
    return ParseDict({"messages": [message], "sampling": sampling}, llm_pb2.ChatRequest())


def authority(key: ApiKey) -> tuple[tuple[str, str | bytes], ...]:
    return (("authorization", f"Bearer {key.text}"),)


def answers(channel: grpc.Channel, key: ApiKey, request: llm_pb2.ChatRequest) -> int:
    """How many tokens an answer has, by its last message."""
    stub = llm_pb2_grpc.LlmServiceStub(channel)
    *_, last = stub.Chat(request, timeout=PATIENCE_S, metadata=authority(key))
    return int(last.usage.completion_tokens)


def refusal(channel: grpc.Channel, key: ApiKey, request: llm_pb2.ChatRequest) -> MeshError:
    with pytest.raises(grpc.RpcError) as refused:
        answers(channel, key, request)
    error: Any = refused.value
    details = dict(error.trailing_metadata()).get(names.STATUS_DETAILS)
    return from_status(error.code().value[0], error.details(), details)


def test_a_stream_is_settled_to_its_use(mesh: LlmMesh, channel: grpc.Channel) -> None:
    key = key_with(mesh, "100000/d", budget="10/month")
    assert answers(channel, key, chat("say one two three", max_tokens=10)) == 3
    until_settled(mesh, key)
    assert spent(mesh, key) == (0, cost(4, 3))
    until(lambda: used(mesh, key).requests == 1, "the ledger")
    assert used(mesh, key).charged_nanos == cost(4, 3)


def test_a_budget_of_a_name_that_metadata_can_not_carry_warns(
    mesh: LlmMesh, channel: grpc.Channel
) -> None:
    allowance = Allowance.parse([], ["1/month:0"])
    mesh.in_store(lambda store: store.set_tenant(Tenant("Café", None, allowance)))
    key = mesh.make_key(scopes=frozenset({"llm"}), tenant="Café")
    stub = llm_pb2_grpc.LlmServiceStub(channel)
    call: Any = stub.Chat(chat("say a", max_tokens=5), timeout=PATIENCE_S, metadata=authority(key))
    assert len(list(call)) == 2
    trailing = dict(call.trailing_metadata())
    assert trailing[names.BUDGET_WARNING].startswith("tenant:Caf%C3%A9 month 0.")


def test_a_caller_that_leaves_pays_for_what_was_made(mesh: LlmMesh, channel: grpc.Channel) -> None:
    key = key_with(mesh, "100000/d", budget="10/month")
    stub = llm_pb2_grpc.LlmServiceStub(channel)
    stream = stub.Chat(
        chat("say one two; wait", max_tokens=10), timeout=PATIENCE_S, metadata=authority(key)
    )
    while next(stream).usage.completion_tokens < 2:
        pass
    assert reserved(mesh, key) > 0
    stream.cancel()
    until_settled(mesh, key)
    assert spent(mesh, key) == (0, cost(4, 2))


def test_who_has_no_room_is_refused_with_details(mesh: LlmMesh, channel: grpc.Channel) -> None:
    key = key_with(mesh, "1000/d")
    error = refusal(channel, key, chat("say one", max_tokens=2000))
    assert (error.reason, error.retryable) == (TOKEN_LIMIT, False)
    assert [quota.policy for quota in error.quotas] == ["key-tokens"]
    key = key_with(mesh, budget="0.001/month")
    error = refusal(channel, key, chat("say one", max_tokens=2000))
    assert (error.reason, error.retryable) == (BUDGET, False)


def test_a_request_without_its_own_most_is_cut(mesh: LlmMesh, channel: grpc.Channel) -> None:
    key = key_with(mesh, "1000/d")
    assert 0 < answers(channel, key, chat("words 5000")) < 1000


def test_both_doors_count_together(mesh: LlmMesh, channel: grpc.Channel) -> None:
    key = key_with(mesh, "3000/d")
    for _ in range(4):
        assert answers(channel, key, chat("words 400", max_tokens=420)) == 400
        until_settled(mesh, key)
    assert refusal(channel, key, chat("words 400", max_tokens=1500)).reason == TOKEN_LIMIT
    with mesh.client(key) as client:
        body = {"model": "llm", "messages": [{"role": "user", "content": "a"}], "max_tokens": 1500}
        assert client.post("/v1/chat/completions", json=body).status_code == 429


def test_embeddings_count(mesh: LlmMesh, channel: grpc.Channel) -> None:
    key = key_with(mesh, "1000/d", budget="10/month")
    request = embedding_pb2.EmbedRequest(inputs=[embedding_pb2.EmbedInput(text="two words")])
    stub = embedding_pb2_grpc.EmbeddingServiceStub(channel)
    answer = stub.Embed(request, timeout=PATIENCE_S, metadata=authority(key))
    assert answer.usage.tokens > 0
    until_settled(mesh, key)
    assert spent(mesh, key) == (0, cost(answer.usage.tokens, 0))


def test_an_embedding_that_has_no_room_is_refused(mesh: LlmMesh, channel: grpc.Channel) -> None:
    key = key_with(mesh, "10/d")
    inputs = [embedding_pb2.EmbedInput(text="more bytes than ten")] * 2
    request = embedding_pb2.EmbedRequest(inputs=inputs)
    stub = embedding_pb2_grpc.EmbeddingServiceStub(channel)
    with pytest.raises(grpc.RpcError) as refused:
        stub.Embed(request, timeout=PATIENCE_S, metadata=authority(key))
    failed: Any = refused.value
    assert failed.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "too large for its limit" in failed.details()


@pytest.mark.parametrize(
    ("model", "remedy"),
    [
        ("embedder", "call mesh.embedding.v1.EmbeddingService/Embed"),
        ("llm", "call mesh.llm.v1.LlmService/Chat"),
    ],
)
def test_tensors_do_not_pass_by_the_limits(
    mesh: LlmMesh, channel: grpc.Channel, model: str, remedy: str
) -> None:
    key = key_with(mesh, "1000/d", budget="10/month")
    stub: Any = GRPCInferenceServiceStub(channel)
    tensor = inference_pb2.ModelInferRequest.InferInputTensor(
        name="text",
        datatype="BYTES",
        shape=[1],
        contents=inference_pb2.InferTensorContents(bytes_contents=[b"two words"]),
    )
    request = inference_pb2.ModelInferRequest(model_name=model, inputs=[tensor])
    with pytest.raises(grpc.RpcError) as refused:
        stub.ModelInfer(request, timeout=PATIENCE_S, metadata=authority(key))
    failed: Any = refused.value
    assert failed.code() is grpc.StatusCode.NOT_FOUND
    assert failed.details().startswith(f"the {model} takes no tensors here")
    assert failed.details().endswith(remedy)
    assert (used(mesh, key), spent(mesh, key)) == (Usage(), (0, 0))


def test_every_method_of_a_metered_service_is_metered() -> None:
    for contract in CONTRACTS:
        names_of = {each.name for each in methods(contract.name, contract.files)}
        if names_of & METHODS.keys():
            assert names_of - METHODS.keys() <= WITHOUT_TOKENS
            assert contract.model is None
            assert contract.instead


def test_bytes_that_are_no_request_are_refused(mesh: LlmMesh, channel: grpc.Channel) -> None:
    call: Any = channel.unary_stream("/mesh.llm.v1.LlmService/Chat")
    with pytest.raises(grpc.RpcError) as refused:
        list(call(b"\xff\xff", timeout=PATIENCE_S, metadata=authority(key_with(mesh))))
    failed: Any = refused.value
    assert failed.code() is grpc.StatusCode.INVALID_ARGUMENT
