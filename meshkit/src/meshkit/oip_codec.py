"""Tensors of the Open Inference Protocol as arrays, and as its messages have them.

A message has the elements of its tensors in one of two forms. Typed: in `contents`, in the field
that fits the datatype. Raw: all in a list beside the tensors, row-major without padding,
little-endian, each element of BYTES behind its length. A response has the form of its request.

Source: kserve/open-inference-protocol, `open_inference_grpc.proto`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from inference.open_inference_grpc_pb2 import (
    InferTensorContents,
    ModelInferRequest,
    ModelInferResponse,
)
from meshkit.errors import InvalidArgument
from meshkit.oip import (
    FORMATS,
    Datatype,
    check_datatype,
    count_elements,
    join_bytes,
    shown,
    split_bytes,
)

Array: TypeAlias = NDArray[Any]
_Message: TypeAlias = ModelInferRequest.InferInputTensor | ModelInferResponse.InferOutputTensor

DTYPES: Final[dict[Datatype, np.dtype[Any]]] = {
    "BYTES": np.dtype(object),
    **{datatype: np.dtype(f"<{code}") for datatype, code in FORMATS.items()},
}
"""The dtype of the arrays of each datatype; the elements of BYTES are objects of type bytes."""

# The field of `contents` for each datatype; FP16 has none.
_CONTENTS: Final[dict[Datatype, str]] = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
# Whose field also holds numbers that they can't.
_NARROW: Final = frozenset({"UINT8", "UINT16", "INT8", "INT16"})


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A tensor in memory.

    Attributes:
        name: unique among the inputs or outputs.
        datatype: of its elements.
        array: the elements, of any rank; its dtype is `DTYPES[datatype]`.

    Raises:
        TypeError: the array has another dtype.
    """

    name: str
    datatype: Datatype
    array: Array

    def __post_init__(self) -> None:
        if self.array.dtype != DTYPES[self.datatype]:
            raise TypeError(
                f"{self.name} is {self.datatype} and its array {self.array.dtype}; "
                f"make it {DTYPES[self.datatype]}"
            )

    @classmethod
    def of(cls, name: str, datatype: Datatype, elements: Sequence[Any] | Array) -> "Tensor":
        """A tensor of elements that are given as an array or as (nested) sequences."""
        return cls(name, datatype, np.asarray(elements, DTYPES[datatype]))


def texts_of(tensor: Tensor) -> list[str]:
    """The elements of a BYTES tensor of one dimension as texts.

    Raises:
        InvalidArgument: one is not UTF-8; names it.
    """
    texts: list[str] = []
    for index, element in enumerate(tensor.array):
        try:
            texts.append(element.decode())
        except UnicodeDecodeError as error:
            description = f"is not valid UTF-8 (byte {error.start}); send text in UTF-8"
            raise InvalidArgument.of_field(f"{tensor.name}[{index}]", description) from None
    return texts


def is_raw(message: ModelInferRequest | ModelInferResponse) -> bool:
    """Whether a message has its tensors in raw form."""
    if isinstance(message, ModelInferRequest):
        return bool(message.raw_input_contents)
    return bool(message.raw_output_contents)


def inputs_of(request: ModelInferRequest) -> dict[str, Tensor]:
    """The inputs of a request, by name, in their order.

    Raises:
        InvalidArgument: the elements do not fit what is said of them, or both forms are used;
            names the tensor.
    """
    return _decoded(request.inputs, request.raw_input_contents, "input")


def outputs_of(response: ModelInferResponse) -> dict[str, Tensor]:
    """The outputs of a response, by name, in their order; raises as `inputs_of`."""
    return _decoded(response.outputs, response.raw_output_contents, "output")


def add_inputs(request: ModelInferRequest, tensors: Iterable[Tensor], *, raw: bool) -> None:
    """Adds inputs to a request.

    Raises:
        InvalidArgument: one is FP16, which has no typed form.
    """
    for tensor in tensors:
        _encode(tensor, request.inputs.add(), request.raw_input_contents if raw else None)


def add_outputs(response: ModelInferResponse, tensors: Iterable[Tensor], *, raw: bool) -> None:
    """Adds outputs to a response; raises as `add_inputs`."""
    for tensor in tensors:
        _encode(tensor, response.outputs.add(), response.raw_output_contents if raw else None)


def _decoded(messages: Sequence[_Message], raws: Sequence[bytes], kind: str) -> dict[str, Tensor]:
    if raws and len(raws) != len(messages):
        raise InvalidArgument.of_field(
            f"raw_{kind}_contents",
            f"has {len(raws)} entries for {len(messages)} {kind}s; send one for each",
        )
    tensors: dict[str, Tensor] = {}
    for index, message in enumerate(messages):
        if message.name in tensors:
            raise InvalidArgument.of_field(shown(message.name), f"is an {kind} twice; send it once")
        tensors[message.name] = _decode(message, raws[index] if raws else None)
    return tensors


def _decode(message: _Message, raw: bytes | None) -> Tensor:
    datatype = check_datatype(message.name, message.datatype)
    count = count_elements(message.name, message.shape)
    if raw is None:
        flat = _from_typed(message.name, datatype, message.contents, count)
    elif message.contents.ListFields():
        raise InvalidArgument.of_field(
            shown(message.name), "has typed contents beside raw ones; send all tensors in one form"
        )
    else:
        flat = _from_raw(message.name, datatype, raw, count)
    return Tensor(message.name, datatype, flat.reshape(message.shape))


def _from_raw(name: str, datatype: Datatype, raw: bytes, count: int) -> Array:
    if datatype == "BYTES":
        return np.array(split_bytes(name, raw, count), object)
    dtype = DTYPES[datatype]
    if len(raw) != count * dtype.itemsize:
        raise InvalidArgument.of_field(
            shown(name),
            f"has {len(raw)} bytes and its shape takes {count * dtype.itemsize} of {datatype}; "
            "send every element, little-endian and without padding",
        )
    if datatype == "BOOL" and max(raw) > 1:
        raise InvalidArgument.of_field(shown(name), f"has the byte {max(raw)}; send BOOL as 0 or 1")
    return np.frombuffer(raw, dtype)


def _from_typed(name: str, datatype: Datatype, contents: InferTensorContents, count: int) -> Array:
    field = _field(name, datatype)
    for descriptor, _ in contents.ListFields():
        if descriptor.name != field:
            raise InvalidArgument.of_field(
                shown(name), f"is {datatype} and has {descriptor.name}; send {field}"
            )
    values = getattr(contents, field)
    if len(values) != count:
        raise InvalidArgument.of_field(
            shown(name),
            f"has {len(values)} elements in {field} and its shape takes {count}; send as many",
        )
    if datatype in _NARROW:
        return _narrowed(name, datatype, np.fromiter(values, np.int64, count))
    return np.fromiter(values, DTYPES[datatype], count)


def _field(name: str, datatype: Datatype) -> str:
    if datatype not in _CONTENTS:
        raise InvalidArgument.of_field(
            shown(name), f"is {datatype}, which has no typed form; use raw contents"
        )
    return _CONTENTS[datatype]


def _narrowed(name: str, datatype: Datatype, values: NDArray[np.int64]) -> Array:
    limits = np.iinfo(DTYPES[datatype])
    outside = np.flatnonzero((values < limits.min) | (values > limits.max))
    if outside.size:
        index = outside[0]
        raise InvalidArgument.of_field(
            f"{shown(name)}[{index}]",
            f"is {values[index]}; send {datatype} from {limits.min} to {limits.max}",
        )
    return values.astype(DTYPES[datatype])


def _encode(tensor: Tensor, message: _Message, raws: Any) -> None:
    """Puts a tensor into an empty message, and its elements into `raws` where there is such."""
    message.name, message.datatype = tensor.name, tensor.datatype
    message.shape.extend(tensor.array.shape)
    if raws is None:
        field = _field(tensor.name, tensor.datatype)
        getattr(message.contents, field).extend(tensor.array.ravel().tolist())
    elif tensor.datatype == "BYTES":
        raws.append(join_bytes(tensor.array.ravel()))
    else:
        raws.append(tensor.array.tobytes())
