"""The Open Inference Protocol v2: what models take and give, as tensors, and the form of those.

What needs no numpy, for processes that pass tensors on; `meshkit.oip_codec` has the arrays.

Source: kserve/open-inference-protocol, `inference_rest.md` and `open_inference_grpc.proto`; the
layout of BYTES is that of Triton's binary tensor data, which every stock client speaks.
"""

import math
import struct
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, TypeGuard, get_args

from inference.open_inference_grpc_pb2 import InferParameter
from mesh.common.v1 import common_pb2
from meshkit.errors import InvalidArgument
from meshkit.lineage import Lineage

Datatype: TypeAlias = Literal[
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BYTES",
]
"""The datatypes of the protocol."""

Parameter: TypeAlias = bool | int | float | str
"""The value of a parameter of a request, a response or a tensor."""

FORMATS: Final[Mapping[Datatype, str]] = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
"""An element of each datatype of fixed size, as `struct` and numpy call it; little-endian."""
MAX_RANK: Final = 32
"""Most dimensions of a tensor."""

_DATATYPES: Final = frozenset(get_args(Datatype))
_LENGTH: Final = struct.Struct("<I")
_MOST_ELEMENTS: Final = 2**63 - 1
_MOST_SHOWN: Final = 100
_LINEAGE: Final = ("model", "version", "variant", "run", "deployment")
_FEATURE_AGE: Final = "feature_age_seconds"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor that a model takes or gives.

    Attributes:
        name: of the tensor, unique among the inputs or outputs.
        datatype: of its elements.
        shape: size of each dimension; -1 where it varies.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes and gives."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def to_proto(self) -> common_pb2.Signature:
        """As it is told by a service."""
        return common_pb2.Signature(
            inputs=[_to_proto(spec) for spec in self.inputs],
            outputs=[_to_proto(spec) for spec in self.outputs],
        )


def _to_proto(spec: TensorSpec) -> common_pb2.TensorSignature:
    return common_pb2.TensorSignature(name=spec.name, datatype=spec.datatype, shape=spec.shape)


def shown(name: str) -> str:
    """A caller's name for something, cut to what a message can hold."""
    return name if len(name) <= _MOST_SHOWN else f"{name[:_MOST_SHOWN]}..."


def check_datatype(name: str, datatype: str) -> Datatype:
    """The datatype of a tensor, known to be one.

    Args:
        name: of the tensor.
        datatype: what the caller says it is.

    Raises:
        InvalidArgument: there is no such datatype; names the tensor.
    """
    if not _known(datatype):
        raise InvalidArgument.of_field(
            shown(name),
            f"has the datatype {shown(datatype)!r}; send one of {', '.join(get_args(Datatype))}",
        )
    return datatype


def _known(datatype: str) -> TypeGuard[Datatype]:
    return datatype in _DATATYPES


def count_elements(name: str, shape: Sequence[int]) -> int:
    """How many elements a tensor of that shape has; nothing is allocated.

    Args:
        name: of the tensor.
        shape: size of each dimension.

    Raises:
        InvalidArgument: a dimension is not positive, there are more than `MAX_RANK`, or more
            elements than a signed 64-bit number counts; names the tensor.
    """
    if len(shape) > MAX_RANK:
        raise InvalidArgument.of_field(
            shown(name), f"has {len(shape)} dimensions and may have {MAX_RANK}; send fewer"
        )
    if wrong := [size for size in shape if size < 1]:
        raise InvalidArgument.of_field(
            shown(name), f"has the size {wrong[0]} in its shape; send sizes from 1"
        )
    count = math.prod(shape)
    if count > _MOST_ELEMENTS:
        raise InvalidArgument.of_field(
            shown(name), "has a shape of more than 2^63-1 elements; send a smaller tensor"
        )
    return count


def join_bytes(elements: Iterable[bytes]) -> bytes:
    """The elements of a BYTES tensor in raw form: of each its length (4 bytes), then its bytes."""
    parts: list[bytes] = []
    for element in elements:
        parts += (_LENGTH.pack(len(element)), element)
    return b"".join(parts)


def split_bytes(name: str, raw: bytes, count: int) -> list[bytes]:
    """The elements of a BYTES tensor in raw form; the inverse of `join_bytes`.

    Args:
        name: of the tensor.
        raw: its content.
        count: how many elements its shape has.

    Raises:
        InvalidArgument: an element goes beyond the end, or there is something after the last one;
            names the tensor.
    """
    elements: list[bytes] = []
    offset = 0
    while len(elements) < count:
        start = offset + _LENGTH.size
        end = start + (_LENGTH.unpack_from(raw, offset)[0] if start <= len(raw) else 0)
        if max(start, end) > len(raw):
            raise _misplaced(name, f"ends within element {len(elements)} of the {count}")
        elements.append(raw[start:end])
        offset = end
    if offset != len(raw):
        raise _misplaced(name, f"has {len(raw) - offset} bytes after the last of the {count}")
    return elements


def _misplaced(name: str, problem: str) -> InvalidArgument:
    return InvalidArgument.of_field(
        shown(name),
        f"{problem} elements in its shape; send the length of each, 4 bytes little-endian, "
        "before its bytes",
    )


def parameters_of(sent: Mapping[str, InferParameter]) -> dict[str, Parameter]:
    """The parameters of a message; one without a value is left out.

    They are in the order of their names: a message's own differs from process to process.
    """
    chosen = ((name, sent[name].WhichOneof("parameter_choice")) for name in sorted(sent))
    return {name: getattr(sent[name], choice) for name, choice in chosen if choice}


def set_parameters(
    message: MutableMapping[str, InferParameter], parameters: Mapping[str, Parameter]
) -> None:
    """Puts parameters into those of a message; the inverse of `parameters_of`.

    Raises:
        InvalidArgument: a whole number does not fit into 64 bits; names the parameter.
    """
    for name, value in parameters.items():
        message[name].CopyFrom(_parameter(name, value))


def _parameter(name: str, value: Parameter) -> InferParameter:
    if isinstance(value, bool):
        return InferParameter(bool_param=value)
    if isinstance(value, str):
        return InferParameter(string_param=value)
    if isinstance(value, float):
        return InferParameter(double_param=value)
    if -(2**63) <= value < 2**63:
        return InferParameter(int64_param=value)
    if 0 <= value < 2**64:
        return InferParameter(uint64_param=value)
    raise InvalidArgument.of_field(
        f"parameters[{shown(name)}]", "does not fit into 64 bits; send a smaller number"
    )


def flag(parameters: Mapping[str, Parameter], name: str, *, default: bool, field: str = "") -> bool:
    """A parameter that is true or false.

    Args:
        parameters: of a request, or of a tensor in it.
        name: of the parameter.
        default: what holds where it is absent.
        field: where it stands, for the error; its place among the parameters by default.

    Raises:
        InvalidArgument: it is something else; names it.
    """
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise InvalidArgument.of_field(
            field or f"parameters[{name}]", f"is {shown(str(value))!r}; send true or false"
        )
    return value


def lineage_parameters(lineage: Lineage) -> dict[str, str]:
    """The lineage of an answer as parameters of its response."""
    said = {name: getattr(lineage, name) for name in _LINEAGE}
    if lineage.feature_age_s is not None:
        said[_FEATURE_AGE] = repr(lineage.feature_age_s)
    return said


def lineage_of(parameters: Mapping[str, Parameter]) -> Lineage | None:
    """The inverse of `lineage_parameters`; None where a response does not say all of it."""
    said = [parameters.get(name) for name in _LINEAGE]
    texts = [each for each in said if isinstance(each, str)]
    if len(texts) < len(said):
        return None
    model, version, variant, run, deployment = texts
    age_s = parameters.get(_FEATURE_AGE)
    return Lineage(
        model, version, variant, run, deployment, None if age_s is None else float(age_s)
    )
