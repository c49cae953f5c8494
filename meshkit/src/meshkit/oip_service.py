"""The Open Inference Protocol beside a service's own contract: one model, asked with tensors.

Source: kserve/open-inference-protocol, `inference_grpc.md` and `open_inference_grpc.proto`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import Final, Protocol, TypeAlias

from inference.open_inference_grpc_pb2 import (
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
    ModelReadyRequest,
    ModelReadyResponse,
    ServerLiveRequest,
    ServerLiveResponse,
    ServerMetadataRequest,
    ServerMetadataResponse,
    ServerReadyRequest,
    ServerReadyResponse,
)
from inference.open_inference_grpc_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)
from meshkit.errors import InvalidArgument, MeshError, NotFound, error_class
from meshkit.oip import (
    Parameter,
    Signature,
    TensorSpec,
    parameters_of,
    set_parameters,
    shown,
)
from meshkit.oip_codec import Tensor, add_outputs, inputs_of, is_raw
from meshkit.server import Service

MAX_ID_BYTES: Final = 1024
"""Longest `id` of a request, in bytes of UTF-8."""
_SERVER: Final = "meshkit"

Inferred: TypeAlias = tuple[Sequence[Tensor], Mapping[str, Parameter]]
"""What a model answers: every output of its signature, and the parameters of the response."""


class LoadedVersion(Protocol):
    """A loaded version of a model."""

    @property
    def name(self) -> str:
        """Name of the version."""

    async def infer(
        self, inputs: Mapping[str, Tensor], parameters: Mapping[str, Parameter]
    ) -> Inferred:
        """Answers one request.

        Args:
            inputs: every input of the signature, each of its datatype and rank.
            parameters: of the request.

        Raises:
            MeshError: what the caller may see; names a tensor or a parameter where one is wrong.
        """


@dataclass(frozen=True, slots=True)
class Model:
    """What a service serves by this protocol.

    Attributes:
        name: of the model.
        platform: what it is and what runs it, such as `onnx_onnxruntime`.
        signature: what it takes and gives.
        lease: keeps the version that serves loaded inside, so that one version makes all of an
            answer.
    """

    name: str
    platform: str
    signature: Signature
    lease: Callable[[], AbstractContextManager[LoadedVersion]]


def failed_row(name: str, index: int, error: MeshError) -> MeshError:
    """The error of a request of which one row failed: the protocol has none of one row.

    Args:
        name: of the tensor.
        index: of the row.
        error: what the model reports of it.
    """
    return error_class(error.code, error.reason)(
        f"{name}[{index}]: {error.message}", reason=error.reason, retryable=error.retryable
    )


def service(model: Model) -> Service:
    """The service to mount beside the model's own."""
    servicer = OpenInferenceServicer(model)
    return Service(add_GRPCInferenceServiceServicer_to_server, servicer)


class OpenInferenceServicer(GRPCInferenceServiceServicer):
    """inference.GRPCInferenceService over one model.

    A service opens its port once its model is loaded and warm: whoever can ask it finds it ready.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._inputs = {spec.name: spec for spec in model.signature.inputs}
        self._outputs = [spec.name for spec in model.signature.outputs]

    async def ServerLive(  # noqa: N802  # the protocol's name
        self, request: ServerLiveRequest, context: object
    ) -> ServerLiveResponse:
        """Says that the process answers."""
        return ServerLiveResponse(live=True)

    async def ServerReady(  # noqa: N802  # the protocol's name
        self, request: ServerReadyRequest, context: object
    ) -> ServerReadyResponse:
        """Says that the model can be asked."""
        return ServerReadyResponse(ready=True)

    async def ModelReady(  # noqa: N802  # the protocol's name
        self, request: ModelReadyRequest, context: object
    ) -> ModelReadyResponse:
        """Says that the model can be asked, in the version that is named if one is."""
        with self._lease(request.name, request.version):
            return ModelReadyResponse(ready=True)

    async def ServerMetadata(  # noqa: N802  # the protocol's name
        self, request: ServerMetadataRequest, context: object
    ) -> ServerMetadataResponse:
        """Says what serves."""
        return ServerMetadataResponse(name=_SERVER, version=metadata.version(_SERVER))

    async def ModelMetadata(  # noqa: N802  # the protocol's name
        self, request: ModelMetadataRequest, context: object
    ) -> ModelMetadataResponse:
        """Describes the model and the version that serves."""
        with self._lease(request.name, request.version) as version:
            return ModelMetadataResponse(
                name=self._model.name,
                versions=[version.name],
                platform=self._model.platform,
                inputs=[_metadata(spec) for spec in self._model.signature.inputs],
                outputs=[_metadata(spec) for spec in self._model.signature.outputs],
            )

    async def ModelInfer(  # noqa: N802  # the protocol's name
        self, request: ModelInferRequest, context: object
    ) -> ModelInferResponse:
        """Asks the model."""
        if len(request.id.encode()) > MAX_ID_BYTES:
            raise InvalidArgument.of_field(
                "id", f"has over {MAX_ID_BYTES} bytes of UTF-8; send a shorter one"
            )
        with self._lease(request.model_name, request.model_version) as version:
            wanted = self._wanted(request)
            inputs = self._checked(inputs_of(request))
            outputs, parameters = await version.infer(inputs, parameters_of(request.parameters))
            response = ModelInferResponse(
                model_name=self._model.name, model_version=version.name, id=request.id
            )
        by_name = {tensor.name: tensor for tensor in outputs}
        add_outputs(response, [by_name[name] for name in wanted], raw=is_raw(request))
        set_parameters(response.parameters, parameters)
        return response

    @contextmanager
    def _lease(self, name: str, version: str) -> Iterator[LoadedVersion]:
        """Keeps the version that serves loaded inside, if it is the one that is asked for."""
        if name != self._model.name:
            raise NotFound(
                f"there is no model {shown(name)!r} here; ask for {self._model.name!r}",
                reason="MODEL_NOT_FOUND",
            )
        with self._model.lease() as serving:
            if version and version != serving.name:
                raise NotFound(
                    f"the version {shown(version)!r} of {name} is not served; ask for "
                    f"{serving.name!r}, or for none to get what serves",
                    reason="VERSION_NOT_FOUND",
                    metadata={"serving": serving.name},
                )
            yield serving

    def _wanted(self, request: ModelInferRequest) -> list[str]:
        """The names of the outputs that are asked for, in the order of the answer."""
        wanted = [output.name for output in request.outputs] or self._outputs
        known = ", ".join(self._outputs)
        for index, name in enumerate(wanted):
            if name not in self._outputs:
                raise InvalidArgument.of_field(
                    f"outputs[{index}]", f"is {shown(name)!r}; choose from {known}"
                )
            if name in wanted[:index]:
                raise InvalidArgument.of_field(
                    f"outputs[{index}]", f"is {name!r} again; ask for it once"
                )
        return wanted

    def _checked(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The inputs as the signature has them."""
        known = ", ".join(self._inputs)
        for name in inputs:
            if name not in self._inputs:
                raise InvalidArgument.of_field(shown(name), f"is no input; the model takes {known}")
        for name in self._inputs:
            if name not in inputs:
                raise InvalidArgument.of_field(name, f"is missing; the model takes {known}")
        return {name: _fitted(spec, inputs[name]) for name, spec in self._inputs.items()}


def _metadata(spec: TensorSpec) -> ModelMetadataResponse.TensorMetadata:
    return ModelMetadataResponse.TensorMetadata(
        name=spec.name, datatype=spec.datatype, shape=spec.shape
    )


def _fitted(spec: TensorSpec, tensor: Tensor) -> Tensor:
    """The tensor in the rank of the signature: a column of [n, 1] is also a row of [n]."""
    if tensor.datatype != spec.datatype:
        raise InvalidArgument.of_field(
            spec.name, f"is {tensor.datatype}; the model takes {spec.datatype}"
        )
    shape = tensor.array.shape
    if len(spec.shape) == 1 and shape[1:] == (1,):
        shape = shape[:1]
    if len(shape) != len(spec.shape) or any(
        wanted not in (-1, size) for wanted, size in zip(spec.shape, shape, strict=True)
    ):
        raise InvalidArgument.of_field(
            spec.name,
            f"has the shape {list(tensor.array.shape)}; the model takes {list(spec.shape)}",
        )
    return Tensor(tensor.name, tensor.datatype, tensor.array.reshape(shape))
