"""The services behind the gateway, and what each can be asked over gRPC."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from inference import open_inference_grpc_pb2
from mesh.common.v1 import common_pb2
from mesh_gateway.admission import Target
from meshkit import scopes
from meshkit.client import Client
from meshkit.errors import NotFound
from meshkit.oip import shown

_NO_MODEL: Final = "MODEL_NOT_FOUND"


@dataclass(frozen=True, slots=True)
class Backend:
    """A service behind the gateway.

    Attributes:
        client: calls its replicas; its name is the service's, as scopes have it.
        files: its contracts.
        model: the name of its model on the Open Inference Protocol; None where it has no tensors.
        instead: how it is asked where its tokens count, so that it is not by tensors; empty where
            none count.
    """

    client: Client
    files: tuple[FileDescriptor, ...]
    model: str | None = None
    instead: str = ""


@dataclass(frozen=True, slots=True)
class TensorModels:
    """What the Open Inference Protocol has of the services behind the gateway.

    Attributes:
        backends: those that have tensors, by the names of their models.
        instead: how those are asked whose tokens count, by the names of the services.
    """

    backends: Mapping[str, Backend]
    instead: Mapping[str, str]

    @classmethod
    def of(cls, backends: Sequence[Backend]) -> Self:
        """That of some services."""
        return cls(
            {each.model: each for each in backends if each.model is not None},
            {each.client.name: each.instead for each in backends if each.instead},
        )

    def named(self, model: str, remedy: str) -> Backend:
        """The service whose model is named.

        Args:
            model: its name.
            remedy: where a caller learns which models there are.

        Raises:
            NotFound: no service takes tensors for it.
        """
        if backend := self.backends.get(model):
            return backend
        if instead := self.instead.get(model):
            raise NotFound(
                f"the {model} takes no tensors here: what it may use is reserved before it is "
                f"asked, and tensors do not say how many tokens they have; {instead}",
                reason=_NO_MODEL,
            )
        raise NotFound(f"there is no model {shown(model)!r}; {remedy}", reason=_NO_MODEL)


@dataclass(frozen=True, slots=True)
class Method:
    """A method that callers reach through the gateway.

    Attributes:
        name: its full name, `package.Service/Method`.
        target: what a call of it does, for admission.
        streams: whether its answer is a stream.
        lineage: number of the field that says where an answer comes from; None where none does.
    """

    name: str
    target: Target
    streams: bool
    lineage: int | None


def methods(service: str, files: Iterable[FileDescriptor]) -> Iterator[Method]:
    """The methods of a service, by its contracts.

    Raises:
        TypeError: one takes a stream of requests, which nothing here passes on.
    """
    for method in _descriptors(files):
        name = _full_name(method)
        if method.client_streaming:
            raise TypeError(f"{name} takes a stream of requests; no method of the mesh does")
        target = Target(service, scopes.verb_of(method.name))
        yield Method(name, target, method.server_streaming, _lineage_field(method))


def repeatable(files: Iterable[FileDescriptor]) -> frozenset[str]:
    """Full names of the methods that may run twice without harm, as their contracts say."""
    safe = (MethodOptions.NO_SIDE_EFFECTS, MethodOptions.IDEMPOTENT)
    return frozenset(
        _full_name(method)
        for method in _descriptors(files)
        if method.GetOptions().idempotency_level in safe
    )


def service_names(files: Iterable[FileDescriptor]) -> Iterator[str]:
    """Full names of the services of contracts."""
    for file in files:
        for service in file.services_by_name.values():
            yield service.full_name


def _descriptors(files: Iterable[FileDescriptor]) -> Iterator[MethodDescriptor]:
    for file in files:
        for service in file.services_by_name.values():
            yield from service.methods


def _full_name(method: MethodDescriptor) -> str:
    return f"{method.containing_service.full_name}/{method.name}"


def _lineage_field(method: MethodDescriptor) -> int | None:
    for field in method.output_type.fields:
        if field.message_type is common_pb2.Lineage.DESCRIPTOR:
            return int(field.number)
    return None


INFERENCE_METHODS: Final = frozenset(
    _full_name(method) for method in _descriptors([open_inference_grpc_pb2.DESCRIPTOR])
)
"""Full names of the methods of the Open Inference Protocol; none of them leaves anything behind."""
