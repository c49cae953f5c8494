"""Reads single fields from the bytes of a protobuf message, without decoding the rest.

Source: "Encoding", in the documentation of Protocol Buffers.
"""

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}


def last_bytes(message: bytes, number: int) -> bytes | None:
    """The content of a field of bytes, text or a message; None where it is not there.

    Of several the last one, which is the one that counts for a field that is not repeated.

    Args:
        message: the bytes.
        number: of the field.

    Raises:
        ValueError: the bytes are no message.
    """
    found = None
    for field, _, start, end in _delimited(message):
        if field == number:
            found = message[start:end]
    return found


def only(message: bytes, number: int) -> bytes:
    """The message with nothing but its fields of bytes, text or messages of one number.

    Args:
        message: the bytes.
        number: of the fields.

    Raises:
        ValueError: the bytes are no message.
    """
    return b"".join(
        message[begin:end] for field, begin, _, end in _delimited(message) if field == number
    )


def _delimited(message: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Of each field that has a length: its number, its begin, that of its content, and its end."""
    place, size = 0, len(message)
    while place < size:
        begin = place
        tag, place = _varint(message, place)
        kind = tag & 7
        if kind == _BYTES:
            length, place = _varint(message, place)
            yield tag >> 3, begin, place, place + length
            place += length
        elif kind == _VARINT:
            _, place = _varint(message, place)
        elif kind in _FIXED_SIZES:
            place += _FIXED_SIZES[kind]
        else:
            raise ValueError(f"there is no wire type {kind}")
        if place > size:
            raise ValueError("a field is longer than the message")


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number is cut off or too long")
