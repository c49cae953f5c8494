"""The contract of a service that counts, whose answer is a stream; it exists for the tests alone.

Its messages are made here as a compiler would make them from:

    service CounterService {
      rpc Count(CountRequest) returns (stream Count);
      rpc GetCounts(CountRequest) returns (Count);
    }
"""

from typing import Any, Final

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from mesh.common.v1 import common_pb2

_TEXT = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
_MESSAGE = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
_NAME = "counter/v1/counter.proto"


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name=_NAME,
        package="counter.v1",
        syntax="proto3",
        dependency=[common_pb2.DESCRIPTOR.name],
    )
    request = file.message_type.add(name="CountRequest")
    request.field.add(name="wish", number=1, type=_TEXT, label=1)
    count = file.message_type.add(name="Count")
    count.field.add(name="said", number=1, type=_TEXT, label=1)
    count.field.add(
        name="lineage", number=2, type=_MESSAGE, label=1, type_name=".mesh.common.v1.Lineage"
    )
    service = file.service.add(name="CounterService")
    types = {"input_type": ".counter.v1.CountRequest", "output_type": ".counter.v1.Count"}
    service.method.add(name="Count", server_streaming=True, **types)
    service.method.add(name="GetCounts", **types)
    return file


_pool = descriptor_pool.Default()
_pool.AddSerializedFile(_file().SerializeToString())
DESCRIPTOR: Final = _pool.FindFileByName(_NAME)
CountRequest: Final[Any] = message_factory.GetMessageClass(
    DESCRIPTOR.message_types_by_name["CountRequest"]
)
Count: Final[Any] = message_factory.GetMessageClass(DESCRIPTOR.message_types_by_name["Count"])
SERVICE: Final = "counter.v1.CounterService"
COUNT: Final = f"{SERVICE}/Count"
GET_COUNTS: Final = f"{SERVICE}/GetCounts"


def add_to_server(servicer: Any, server: Any) -> None:
    """What generated code would do."""
    codec = {
        "request_deserializer": CountRequest.FromString,
        "response_serializer": Count.SerializeToString,
    }
    server.add_registered_method_handlers(
        SERVICE,
        {
            "Count": grpc.unary_stream_rpc_method_handler(servicer.Count, **codec),
            "GetCounts": grpc.unary_unary_rpc_method_handler(servicer.GetCounts, **codec),
        },
    )
