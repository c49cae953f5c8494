"""The stock reflection client finds every contract at the door and calls by it, knowing none."""

from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from real_mesh import Mesh

from conftest import CLASSIFIER, INFERENCE, Open

TIMEOUT_S = 60.0
OF_OTHERS = {"mesh.embedding.v1.EmbeddingService", "mesh.llm.v1.LlmService"}
OPEN_TO_ALL = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


def listed(channel: grpc.Channel) -> set[str]:
    return set(ProtoReflectionDescriptorDatabase(channel).get_services())


def pool(channel: grpc.Channel) -> DescriptorPool:
    """Contracts that come from the door and nowhere else."""
    return DescriptorPool(ProtoReflectionDescriptorDatabase(channel))


def methods(contracts: DescriptorPool, service: str) -> dict[str, MethodDescriptor]:
    return dict(contracts.FindServiceByName(service).methods_by_name)


def call(channel: grpc.Channel, method: MethodDescriptor, **fields: Any) -> dict[str, Any]:
    """Calls a method by its description, with JSON both ways."""
    request_class = GetMessageClass(method.input_type)
    response_class = GetMessageClass(method.output_type)
    multicallable: Any = channel.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=request_class.SerializeToString,
        response_deserializer=response_class.FromString,
    )
    response = multicallable(ParseDict(fields, request_class()), timeout=TIMEOUT_S)
    said: dict[str, Any] = MessageToDict(response, preserving_proto_field_name=True)
    return said


@pytest.fixture
def contracts(channel: grpc.Channel) -> DescriptorPool:
    return pool(channel)


def test_a_key_sees_the_services_that_it_may_call(channel: grpc.Channel) -> None:
    assert listed(channel) == {CLASSIFIER, INFERENCE, *OF_OTHERS, *OPEN_TO_ALL}


@pytest.mark.parametrize(
    ("scope", "able", "unable"),
    [
        ("classifier:read", "GetModel", "Classify"),
        ("classifier:predict", "Classify", "GetModel"),
    ],
)
def test_a_key_of_one_verb_sees_the_service_and_calls_what_it_may(
    mesh: Mesh, open_channel: Open, scope: str, able: str, unable: str
) -> None:
    key = mesh.command("keys", "create", "judge", "--scope", scope).strip()
    narrow = open_channel(key)
    assert listed(narrow) == {CLASSIFIER, INFERENCE, *OPEN_TO_ALL}
    of_service = methods(pool(narrow), CLASSIFIER)
    fields = {"Classify": {"texts": ["A delight."]}, "GetModel": {}}
    assert call(narrow, of_service[able], **fields[able])["lineage"]["model"] == "classifier"
    with pytest.raises(grpc.RpcError) as caught:
        call(narrow, of_service[unable], **fields[unable])
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_strangers_see_nothing(stranger: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        listed(stranger)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    with pytest.raises(grpc.RpcError) as caught:
        pool(stranger).FindServiceByName(CLASSIFIER)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_wrong_key_sees_nothing(mesh: Mesh, open_channel: Open) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        listed(open_channel(mesh.key[:-1]))
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_every_contract_that_is_listed_is_told(
    channel: grpc.Channel, contracts: DescriptorPool
) -> None:
    told = {name: set(methods(contracts, name)) for name in listed(channel)}
    assert told[CLASSIFIER] == {"Classify", "GetModel"}
    assert told[INFERENCE] == {
        *("ServerLive", "ServerReady", "ServerMetadata"),
        *("ModelReady", "ModelMetadata", "ModelInfer"),
    }
    assert {"Check", "Watch"} <= told["grpc.health.v1.Health"]
    assert told["grpc.reflection.v1alpha.ServerReflection"] == {"ServerReflectionInfo"}


def test_a_name_that_is_nobodys_is_not_found(contracts: DescriptorPool) -> None:
    with pytest.raises(KeyError):
        contracts.FindServiceByName("mesh.weather.v1.WeatherService")


def test_texts_are_classified_by_the_description_alone(
    channel: grpc.Channel, contracts: DescriptorPool
) -> None:
    classify = methods(contracts, CLASSIFIER)["Classify"]
    said = call(channel, classify, texts=["A delight from start to end.", "A dreadful bore."])
    found = [result["classification"] for result in said["results"]]
    assert [each["label"] for each in found] == ["positive", "negative"]
    assert found[0]["valence"] > 0 > found[1]["valence"]
    for each in found:
        chances = {one["label"]: one["probability"] for one in each["probabilities"]}
        assert list(chances) == ["negative", "neutral", "positive"]
        assert sum(chances.values()) == pytest.approx(1)
    assert said["lineage"]["model"] == "classifier"
    model = call(channel, methods(contracts, CLASSIFIER)["GetModel"])
    assert model["labels"] == ["negative", "neutral", "positive"]
    assert model["lineage"]["version"] == said["lineage"]["version"]


def test_tensors_say_the_same(channel: grpc.Channel, contracts: DescriptorPool) -> None:
    of_inference = methods(contracts, INFERENCE)
    described = call(channel, of_inference["ModelMetadata"], name="classifier")
    assert [(each["name"], each["datatype"]) for each in described["inputs"]] == [("text", "BYTES")]
    said = call(
        channel,
        of_inference["ModelInfer"],
        model_name="classifier",
        id="order 7",
        inputs=[
            {
                "name": "text",
                "datatype": "BYTES",
                "shape": [2],
                # bytes are base64 in JSON: "A delight." and "A dreadful bore."
                "contents": {"bytes_contents": ["QSBkZWxpZ2h0Lg==", "QSBkcmVhZGZ1bCBib3JlLg=="]},
            }
        ],
        outputs=[{"name": "label"}],
    )
    assert said["id"] == "order 7"
    assert said["model_version"] == described["versions"][0]
    (labels,) = said["outputs"]
    assert (labels["name"], labels["shape"]) == ("label", ["2"])
    assert labels["contents"]["bytes_contents"] == ["cG9zaXRpdmU=", "bmVnYXRpdmU="]


def test_what_needs_a_key_says_so_and_what_needs_none_answers(
    stranger: grpc.Channel, contracts: DescriptorPool
) -> None:
    of_inference = methods(contracts, INFERENCE)
    assert call(stranger, of_inference["ServerLive"]) == {"live": True}
    assert call(stranger, of_inference["ServerReady"]) == {"ready": True}
    assert call(stranger, of_inference["ServerMetadata"])["name"] == "inference-mesh"
    for method in (
        of_inference["ModelReady"],
        of_inference["ModelMetadata"],
        of_inference["ModelInfer"],
        *methods(contracts, CLASSIFIER).values(),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call(stranger, method)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED, method.full_name


@pytest.mark.parametrize("name", ["mesh.dispatch.v1.DispatchService/Dispatch", f"{CLASSIFIER}/No"])
def test_what_is_not_listed_can_not_be_called(channel: grpc.Channel, name: str) -> None:
    multicallable: Any = channel.unary_unary(f"/{name}")
    with pytest.raises(grpc.RpcError) as caught:
        multicallable(b"", timeout=TIMEOUT_S)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
