"""An inference request over HTTP as the message that a service takes, and its answer back.

The message always has its tensors in raw form, so the answer has too: an output that is wanted as
bytes is passed on as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec import UNSET
from starlette.types import Scope

from inference.open_inference_grpc_pb2 import ModelInferRequest, ModelInferResponse
from mesh_gateway import bodies, oip_binary, oip_json
from mesh_gateway.oip_schemas import InferInput, InferOutput, InferRequest, InferResponse
from meshkit import channels
from meshkit.errors import InvalidArgument, PayloadTooLarge
from meshkit.oip import (
    Parameter,
    check_datatype,
    count_elements,
    flag,
    parameters_of,
    set_parameters,
    shown,
)

_BINARY: Final = "binary_data"
_BINARY_BY_DEFAULT: Final = "binary_data_output"
_decoder: Final = msgspec.json.Decoder(InferRequest)
_encoder: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Wanted:
    """In which form outputs are wanted.

    Attributes:
        binary: by name, whether as bytes after the JSON.
        otherwise: the same for outputs that are not among those.
    """

    binary: Mapping[str, bool]
    otherwise: bool

    @classmethod
    def by(cls, request: InferRequest) -> "Wanted":
        """As a request says.

        Raises:
            InvalidArgument: a parameter that says so is neither true nor false; names it.
        """
        otherwise = flag(
            request.parameters,
            _BINARY_BY_DEFAULT,
            default=False,
            field=f"parameters.{_BINARY_BY_DEFAULT}",
        )
        binary = {
            output.name: flag(
                output.parameters,
                _BINARY,
                default=otherwise,
                field=f"outputs[{index}].parameters.{_BINARY}",
            )
            for index, output in enumerate(request.outputs)
        }
        return cls(binary, otherwise)

    def as_bytes(self, name: str) -> bool:
        """Whether the output of that name is wanted as bytes."""
        return self.binary.get(name, self.otherwise)


def question(
    scope: Scope, body: bytes, model: str, version: str, max_message_bytes: int
) -> tuple[ModelInferRequest, Wanted]:
    """The message that a body makes, and in which form its outputs are wanted.

    Args:
        scope: of the request, for its headers.
        body: all of it.
        model: name of the model.
        version: that is asked for; empty for whichever serves.
        max_message_bytes: the mesh's limit for public messages.

    Raises:
        InvalidArgument: names the field, the tensor or the header that is wrong.
        PayloadTooLarge: the numbers grew too large as tensors.
    """
    text, tail = oip_binary.split(scope, body)
    request = bodies.decode(_decoder, text)
    wanted = Wanted.by(request)
    message = ModelInferRequest(model_name=model, model_version=version, id=request.id)
    set_parameters(message.parameters, _but(request.parameters, _BINARY_BY_DEFAULT))
    for tensor, content in zip(
        request.inputs, oip_binary.contents(request.inputs, tail), strict=True
    ):
        _add_input(message, tensor, content)
    for output in request.outputs:
        added = message.outputs.add(name=output.name)
        set_parameters(added.parameters, _but(output.parameters, _BINARY))
    _check_size(message, channels.internal_message_bytes(max_message_bytes))
    return message, wanted


def _add_input(message: ModelInferRequest, tensor: InferInput, content: bytes | None) -> None:
    count = count_elements(tensor.name, tensor.shape)
    if content is None:
        if tensor.data is UNSET:
            raise InvalidArgument.of_field(
                shown(tensor.name),
                f"has no data; send its elements, or {oip_binary.SIZE} and them after the JSON",
            )
        datatype = check_datatype(tensor.name, tensor.datatype)
        content = oip_json.pack(tensor.name, datatype, tensor.shape, count, tensor.data)
    added = message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    set_parameters(added.parameters, _but(tensor.parameters, oip_binary.SIZE))
    message.raw_input_contents.append(content)


def _check_size(message: ModelInferRequest, most_bytes: int) -> None:
    size = message.ByteSize()
    if size > most_bytes:
        raise PayloadTooLarge(
            f"the tensors have {size} bytes once their numbers are binary and the limit is "
            f"{most_bytes}; send fewer at a time",
            metadata={"max_message_bytes": str(most_bytes)},
        )


def answer(response: ModelInferResponse, wanted: Wanted) -> tuple[bytes, int | None]:
    """The body that tells an answer, and how much of it is JSON; None where all is.

    Raises:
        InvalidArgument: an output has no form in JSON and was not asked for as bytes; names it.
    """
    outputs: list[InferOutput] = []
    parts: list[bytes] = []
    for output, raw in zip(response.outputs, response.raw_output_contents, strict=True):
        parameters = parameters_of(output.parameters)
        data: list[Parameter] | None = None
        if wanted.as_bytes(output.name):
            parameters[oip_binary.SIZE] = len(raw)
            parts.append(raw)
        else:
            data = oip_json.unpack(
                output.name,
                check_datatype(output.name, output.datatype),
                count_elements(output.name, output.shape),
                raw,
            )
        outputs.append(
            InferOutput(
                name=output.name,
                shape=list(output.shape),
                datatype=output.datatype,
                data=UNSET if data is None else data,
                parameters=parameters,
            )
        )
    text = _encoder.encode(
        InferResponse(
            model_name=response.model_name,
            model_version=response.model_version,
            outputs=outputs,
            id=response.id,
            parameters=parameters_of(response.parameters),
        )
    )
    return (b"".join([text, *parts]), len(text)) if parts else (text, None)


def _but(parameters: Mapping[str, Parameter], name: str) -> dict[str, Parameter]:
    """The parameters without one that is of HTTP alone."""
    return {each: value for each, value in parameters.items() if each != name}
