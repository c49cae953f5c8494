"""Binary tensors in HTTP bodies: the JSON first, then the elements of tensors as they are.

A header says how many bytes the JSON has, and a parameter of each such tensor how many are its own.

Source: the binary tensor data extension of Triton's HTTP protocol; STANDARDS 3.1.
"""

import re
from collections.abc import Sequence
from typing import Final

from msgspec import UNSET
from starlette.types import Scope

from mesh_gateway.oip_schemas import InferInput
from meshkit.errors import InvalidArgument
from meshkit.oip import shown

HEADER: Final = "inference-header-content-length"
"""Says how many bytes of the body are JSON; absent where all are."""
SIZE: Final = "binary_data_size"
"""Parameter of a tensor: how many bytes after the JSON are its own."""

_NUMBER: Final = re.compile(r"[0-9]{1,12}")


def split(scope: Scope, body: bytes) -> tuple[memoryview, memoryview | None]:
    """The JSON of a body, and what follows it; None where the header is absent.

    Both are views: nothing is copied.

    Raises:
        InvalidArgument: the header is there twice, is no number, or is over the body's length.
    """
    values = [value for name, value in scope["headers"] if name == HEADER.encode()]
    if not values:
        return memoryview(body), None
    if len(values) > 1:
        raise InvalidArgument.of_field(HEADER, f"is there {len(values)} times; send it once")
    text = values[0].decode("latin-1")
    if not _NUMBER.fullmatch(text):
        raise InvalidArgument.of_field(
            HEADER, f"is {text[:32]!r}; send how many bytes the JSON at the body's beginning has"
        )
    if int(text) > len(body):
        raise InvalidArgument.of_field(
            HEADER, f"is {text} and the body has {len(body)} bytes; send how many the JSON has"
        )
    return memoryview(body)[: int(text)], memoryview(body)[int(text) :]


def contents(inputs: Sequence[InferInput], tail: memoryview | None) -> list[bytes | None]:
    """The binary content of each input; None for one that has none.

    Args:
        inputs: of the request.
        tail: what follows its JSON; None where the header is absent.

    Raises:
        InvalidArgument: the sizes are none, or do not add up to what follows; names the input.
    """
    found: list[bytes | None] = []
    offset = 0
    for each in inputs:
        size = _size(each)
        if size is None:
            found.append(None)
            continue
        if tail is None:
            raise _wrong(each, f"is {size} without the header {HEADER}; send it too")
        _check(each, size, len(tail) - offset)
        found.append(bytes(tail[offset : offset + size]))
        offset += size
    if tail is not None and offset != len(tail):
        raise InvalidArgument.of_field(
            HEADER,
            f"leaves {len(tail)} bytes after the JSON and the inputs' {SIZE} make {offset}; "
            "send sizes that add up",
        )
    return found


def _size(tensor: InferInput) -> int | None:
    size = tensor.parameters.get(SIZE)
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise _wrong(tensor, f"is {shown(str(size))!r}; send a number of bytes")
    return size


def _check(tensor: InferInput, size: int, left: int) -> None:
    if tensor.data is not UNSET:
        raise _wrong(tensor, f"is {size} and there is data in the JSON too; send one of them")
    if size > left:
        raise _wrong(tensor, f"is {size} and {left} bytes are left; send all of its elements")


def _wrong(tensor: InferInput, description: str) -> InvalidArgument:
    return InvalidArgument.of_field(f"{shown(tensor.name)}.parameters.{SIZE}", description)
