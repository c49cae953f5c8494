"""Server reflection at the gRPC door: a caller sees the services that it may call."""

import functools
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, cast

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection, reflection_pb2

from mesh_gateway.auth import Authenticator, presented_key
from meshkit import names
from meshkit.errors import MeshError
from meshkit.grpc_calls import abort, metadata_of

SERVICE: Final = reflection.SERVICE_NAME


class Reflection:
    """Answers reflection.

    Args:
        authenticator: says who asks.
        services: full names of gRPC services, each with the service behind the gateway that a
            caller must be allowed something of.
        open_to_all: full names of those that everybody may call.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        services: Mapping[str, frozenset[str]],
        open_to_all: tuple[str, ...],
    ) -> None:
        self._authenticator = authenticator
        self._services = services
        self._open_to_all = open_to_all

    def handler(self) -> grpc.GenericRpcHandler:
        """For a server."""
        method = grpc.stream_stream_rpc_method_handler(
            cast(Any, self._answer),
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"ServerReflectionInfo": method})

    async def _answer(
        self, requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[Any]:
        metadata = metadata_of(context)
        try:
            presented = presented_key(metadata.get("authorization"), metadata.get(names.API_KEY))
            caller = await self._authenticator.authenticate(presented)
        except MeshError as error:
            await abort(context, error)
        may = {scope.partition(":")[0] for scope in caller.scopes}
        seen = [name for name, needed in self._services.items() if may & needed]
        shown = (*seen, *self._open_to_all)
        servicer: Any = reflection.aio.ReflectionServicer(shown, _pool_of(shown))
        async for answer in servicer.ServerReflectionInfo(requests, context):
            yield answer


@functools.lru_cache(128)
def _pool_of(services: tuple[str, ...]) -> DescriptorPool:
    """The contracts of services and what these import: what is not shown is not told either."""
    known, found = descriptor_pool.Default(), DescriptorPool()

    def add(file: FileDescriptor) -> None:
        for each in file.dependencies:
            add(each)
        found.AddSerializedFile(file.serialized_pb)

    for name in services:
        add(known.FindFileContainingSymbol(name))
    return found
