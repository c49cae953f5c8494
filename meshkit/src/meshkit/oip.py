"""The Open Inference Protocol v2: what models take and give, as tensors."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from mesh.common.v1 import common_pb2

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
