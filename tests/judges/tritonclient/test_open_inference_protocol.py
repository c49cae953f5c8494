"""Our copy of the Open Inference Protocol is the one that the stock client speaks."""

from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from grpc_tools import protoc
from tritonclient.grpc import service_pb2

PROTOS = Path(__file__).resolve().parents[3] / "protos"
CONTRACT = "inference/open_inference_grpc.proto"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> FileDescriptorProto:
    out = tmp_path_factory.mktemp("descriptors") / "inference.binpb"
    status = protoc.main(
        ["protoc", f"--proto_path={PROTOS}", f"--descriptor_set_out={out}", CONTRACT]
    )
    assert status == 0
    (file,) = FileDescriptorSet.FromString(out.read_bytes()).file
    return file


@pytest.fixture(scope="module")
def theirs() -> FileDescriptorProto:
    file = FileDescriptorProto()
    service_pb2.DESCRIPTOR.CopyToProto(file)
    return file


def fields(message: DescriptorProto) -> set[tuple[object, ...]]:
    """Everything about the fields that reaches the wire or the generated code."""
    return {
        (
            field.name,
            field.number,
            field.type,
            field.label,
            field.type_name,
            message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else None,
        )
        for field in message.field
    }


def messages(file: FileDescriptorProto) -> dict[str, DescriptorProto]:
    """Messages and the ones inside them, by dotted name."""
    found = {}
    waiting = [("", message) for message in file.message_type]
    while waiting:
        prefix, message = waiting.pop()
        found[prefix + message.name] = message
        waiting += [(f"{prefix}{message.name}.", nested) for nested in message.nested_type]
    return found


def test_the_package_is_theirs(ours: FileDescriptorProto, theirs: FileDescriptorProto) -> None:
    assert ours.package == theirs.package == "inference"


def test_every_message_has_their_fields(
    ours: FileDescriptorProto, theirs: FileDescriptorProto
) -> None:
    known = messages(theirs)
    for name, message in messages(ours).items():
        assert fields(message) == fields(known[name]), name


def test_the_service_has_their_methods_and_none_of_their_extensions(
    ours: FileDescriptorProto, theirs: FileDescriptorProto
) -> None:
    (our_service,), (their_service,) = ours.service, theirs.service
    assert our_service.name == their_service.name == "GRPCInferenceService"
    known = {method.name: method for method in their_service.method}
    for method in our_service.method:
        assert method.input_type == known[method.name].input_type
        assert method.output_type == known[method.name].output_type
        assert not method.client_streaming
        assert not method.server_streaming
    assert {method.name for method in our_service.method} == {
        "ServerLive",
        "ServerReady",
        "ModelReady",
        "ServerMetadata",
        "ModelMetadata",
        "ModelInfer",
    }
