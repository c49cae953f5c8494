"""The elements of tensors in the JSON of the Open Inference Protocol.

Tensors go on to a service in raw form whatever form they came in: its numbers are those of JSON
packed as their datatype has them, so one message holds binary tensors and those of JSON.

Source: kserve/open-inference-protocol, `inference_rest.md`.
"""

import itertools
import math
import re
import struct
from collections.abc import Sequence
from functools import cache
from types import GenericAlias
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from mesh_gateway import bodies
from meshkit.errors import InvalidArgument
from meshkit.oip import FORMATS, Datatype, Parameter, join_bytes, shown, split_bytes

_NESTED: Final = re.compile(rb"\s*\[\s*\[")


def _integer(low: int, high: int | None) -> Any:
    return Annotated[int, Meta(ge=low, le=high)]


# Each within what its datatype can hold, so that the element that is not is named. Too much for
# FP32 or UINT64 shows when it is packed, and FP16 has no form in JSON.
_ELEMENTS: Final[dict[Datatype, Any]] = {
    "BOOL": bool,
    "UINT8": _integer(0, 2**8 - 1),
    "UINT16": _integer(0, 2**16 - 1),
    "UINT32": _integer(0, 2**32 - 1),
    "UINT64": _integer(0, None),
    "INT8": _integer(-(2**7), 2**7 - 1),
    "INT16": _integer(-(2**15), 2**15 - 1),
    "INT32": _integer(-(2**31), 2**31 - 1),
    "INT64": _integer(-(2**63), 2**63 - 1),
    "FP32": float,
    "FP64": float,
    "BYTES": str,
}


def pack(
    name: str, datatype: Datatype, shape: Sequence[int], count: int, data: msgspec.Raw
) -> bytes:
    """Elements in JSON, as the raw form has them.

    Args:
        name: of the tensor.
        datatype: of its elements.
        shape: size of each dimension.
        count: how many elements that makes.
        data: the JSON, flat or as deep as the shape.

    Raises:
        InvalidArgument: the elements do not fit the datatype or the shape; names the tensor or the
            element.
    """
    if datatype not in _ELEMENTS:
        raise InvalidArgument.of_field(
            shown(name), f"is {datatype}, which has no form in JSON; send it as binary data"
        )
    nested = _NESTED.match(data) is not None
    values = bodies.decode(_decoder(datatype, len(shape) if nested else 1), data, shown(name))
    flat = _flat(name, shape, values) if nested else values
    if len(flat) != count:
        raise InvalidArgument.of_field(
            shown(name), f"has {len(flat)} elements and its shape takes {count}; send as many"
        )
    if datatype == "BYTES":
        return join_bytes(text.encode() for text in flat)
    return _packed(name, datatype, flat)


@cache  # as many as there are datatypes and ranks
def _decoder(datatype: Datatype, depth: int) -> "msgspec.json.Decoder[list[Any]]":
    kind: Any = _ELEMENTS[datatype]
    for _ in range(max(depth, 1)):
        kind = GenericAlias(list, (kind,))
    return msgspec.json.Decoder(kind)


def _flat(name: str, shape: Sequence[int], values: list[Any]) -> list[Any]:
    rows = [values]
    for dimension, size in enumerate(shape):
        wrong = next((len(row) for row in rows if len(row) != size), None)
        if wrong is not None:
            raise InvalidArgument.of_field(
                shown(name),
                f"has {wrong} elements in dimension {dimension} and its shape takes {size}; "
                "send as many in every row",
            )
        rows = list(itertools.chain.from_iterable(rows))
    return rows


def _packed(name: str, datatype: Datatype, values: list[Any]) -> bytes:
    code = FORMATS[datatype]
    try:
        return _pack(code, values)
    except (struct.error, OverflowError):
        raise InvalidArgument.of_field(
            f"{shown(name)}[{_first_misfit(code, values)}]",
            f"is too large for {datatype}; send a smaller number",
        ) from None


def _pack(code: str, values: list[Any]) -> bytes:
    return struct.pack(f"<{len(values)}{code}", *values)


def _first_misfit(code: str, values: list[Any]) -> int:
    """The index of the first of the values that can't be packed; there is one."""
    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            _pack(code, values[low:middle])
        except (struct.error, OverflowError):
            high = middle
        else:
            low = middle
    return low


def unpack(name: str, datatype: Datatype, count: int, raw: bytes) -> list[Parameter]:
    """The elements of a tensor in raw form, as JSON has them.

    Args:
        name: of the tensor.
        datatype: of its elements.
        count: how many there are.
        raw: its content.

    Raises:
        InvalidArgument: JSON has no form for them; names the tensor or the element.
    """
    if datatype == "BYTES":
        return [
            _text(f"{shown(name)}[{index}]", element)
            for index, element in enumerate(split_bytes(name, raw, count))
        ]
    if datatype not in _ELEMENTS:
        raise _only_binary(shown(name), f"is {datatype}")
    values = list(struct.unpack(f"<{count}{FORMATS[datatype]}", raw))
    if datatype.startswith("FP"):
        for index, value in enumerate(values):
            if not math.isfinite(value):
                raise _only_binary(f"{shown(name)}[{index}]", f"is {value}")
    return values


def _text(place: str, element: bytes) -> str:
    try:
        return element.decode()
    except UnicodeDecodeError:
        raise _only_binary(place, "is not valid UTF-8") from None


def _only_binary(place: str, problem: str) -> InvalidArgument:
    return InvalidArgument.of_field(
        place, f"{problem}, which has no form in JSON; ask for the output as binary data"
    )
