"""Remembers where the answers of the door come from, read from their bytes."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeAlias

from google.protobuf.message import DecodeError

from inference.open_inference_grpc_pb2 import ModelInferResponse
from mesh.common.v1 import common_pb2
from mesh_gateway import wire
from mesh_gateway.lineage_log import LineageLog
from meshkit import names
from meshkit.interceptors import Call
from meshkit.oip import lineage_of, parameters_of

Remember: TypeAlias = Callable[[Call, bytes], None]
"""Told of each answer to a call. Bytes that are no answer are left to the caller to find out."""

_PARAMETERS: Final = ModelInferResponse.DESCRIPTOR.fields_by_name["parameters"].number


def of_field(log: LineageLog | None, number: int | None) -> Remember:
    """Reads the lineage that is a field of the answer.

    Args:
        log: where it goes; None to remember nothing.
        number: of the field; None where there is none.
    """
    if log is None or number is None:
        return nothing

    def remember(call: Call, answer: bytes) -> None:
        with suppress(ValueError, DecodeError):
            if said := wire.last_bytes(answer, number):
                log.add(call.metadata[names.REQUEST_ID], common_pb2.Lineage.FromString(said))

    return remember


def of_parameters(log: LineageLog | None) -> Remember:
    """Reads the lineage in the parameters of an answer of the Open Inference Protocol.

    Args:
        log: where it goes; None to remember nothing.
    """
    if log is None:
        return nothing

    def remember(call: Call, answer: bytes) -> None:
        with suppress(ValueError, DecodeError):
            said = ModelInferResponse.FromString(wire.only(answer, _PARAMETERS))
            if lineage := lineage_of(parameters_of(said.parameters)):
                log.add(call.metadata[names.REQUEST_ID], lineage.to_proto())

    return remember


def nothing(call: Call, answer: bytes) -> None:
    """Remembers nothing."""
