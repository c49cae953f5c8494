"""Looks into the files of a version: each must be what its name says, and hold data only.

A name is a claim. A file that a reader would run, resolve elsewhere, or unpickle is refused here,
before anything opens it.
"""

import json
import math
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

from meshkit import store
from meshkit.store import Version

# Operators that ONNX Runtime itself brings; any other domain comes from a library that is loaded.
_DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
_MAX_TEXT_BYTES: Final = 64 * 1024 * 1024
_MAX_HEADER_BYTES: Final = 16 * 1024 * 1024
_MAX_PROTOBUF_BYTES: Final = 2**31 - 1
# Bits of one element, by the names that safetensors gives its types.
_TENSOR_BITS: Final = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "U16": 16, "I16": 16, "F16": 16,
    "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64,
}  # fmt: skip


class BadFile(Exception):
    """A file is not what its name says, or holds more than data."""


class Sips:
    """A file that is read in small parts only, for libraries that read as much as a file tells."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, count: int = -1) -> bytes:
        """Reads up to `count` bytes.

        Raises:
            BadFile: the index of an honest file is never as large.
        """
        if count > _MAX_HEADER_BYTES:
            raise BadFile(f"has an index of {count} bytes and may have {_MAX_HEADER_BYTES}")
        content: bytes = self._file.read(count)
        return content


def faults(version: Version) -> dict[str, str]:
    """What is wrong with the files of a version, by their names; empty when nothing is."""
    if not version.files:
        return {version.name: "has no files"}
    found = {name: "is missing" for name, path in version.files.items() if not path.exists()}
    folder = next(iter(version.files.values())).parent
    for path in sorted(folder.iterdir()):
        if path.name == store.MANIFEST:
            continue
        if path.name not in version.files:
            found[path.name] = "is no file of the version; delete it"
            continue
        try:
            check(path)
        except BadFile as fault:
            found[path.name] = str(fault)
    return found


def check(path: Path) -> None:
    """Checks that a file is what its name says, by its content.

    Raises:
        BadFile: it is not.
    """
    if path.is_symlink() or not path.is_file():
        raise BadFile("is no plain file")
    if path.suffix not in _CHECKS:
        raise BadFile(f"has none of the formats {', '.join(sorted(_CHECKS))}")
    with path.open("rb") as file:
        start = file.read(2)
        # Whatever reads it by its content, not by its name, would run it.
        if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05":
            raise BadFile("is a pickle")
        file.seek(0)
        _CHECKS[path.suffix](file, path.stat().st_size)


def _check_text(file: BinaryIO, size: int) -> None:
    if size > _MAX_TEXT_BYTES:
        raise BadFile(f"has {size} bytes of text and may have {_MAX_TEXT_BYTES}")
    try:
        text = file.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadFile(f"is no UTF-8 text ({error})") from error
    if "\x00" in text:
        raise BadFile("is no text: it has zero bytes")


def _check_json(file: BinaryIO, size: int) -> None:
    _check_text(file, size)
    file.seek(0)
    try:
        json.load(file)
    except (ValueError, RecursionError) as error:
        raise BadFile(f"is no JSON ({error})") from error


def _check_onnx(file: BinaryIO, size: int) -> None:
    import onnx  # noqa: PLC0415  # half a second, for this format only
    from google.protobuf.message import DecodeError  # noqa: PLC0415

    if size > _MAX_PROTOBUF_BYTES:
        raise BadFile(f"has {size} bytes, more than one protobuf message may have")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(file.read())
    except DecodeError as error:
        raise BadFile(f"is no ONNX model ({error})") from error
    if not (model.ir_version and model.opset_import and model.graph.node):
        raise BadFile("is no ONNX model: it has no graph, no version or no operator sets")
    own = {function.domain for function in model.functions}
    domains = {entry.domain for entry in model.opset_import}
    for part in _parts(model):
        if isinstance(part, onnx.TensorProto) and (
            part.external_data or part.data_location == onnx.TensorProto.EXTERNAL
        ):
            raise BadFile(f"keeps the tensor {part.name!r} in another file")
        if isinstance(part, onnx.NodeProto):
            domains.add(part.domain)
    if foreign := sorted(domains - own - _DOMAINS):
        raise BadFile(f"has operators of {', '.join(foreign)}, which a library would have to bring")


def _parts(message: Any) -> Iterator[Any]:
    """A protobuf message and every message within it, however deep."""
    from google.protobuf.message import Message  # noqa: PLC0415

    yield message
    for _, value in message.ListFields():
        if isinstance(value, Message):
            yield from _parts(value)
        elif isinstance(value, Sequence) and value and isinstance(value[0], Message):
            for each in value:
                yield from _parts(each)


def _check_safetensors(file: BinaryIO, size: int) -> None:
    if size < 8:
        raise BadFile("is no safetensors file: it has no header")
    length: int = struct.unpack("<Q", file.read(8))[0]
    if length > min(_MAX_HEADER_BYTES, size - 8):
        raise BadFile("is no safetensors file: its header is longer than it may be")
    try:
        header = json.loads(file.read(length))
    except (ValueError, RecursionError) as error:
        raise BadFile(f"is no safetensors file: its header is no JSON ({error})") from error
    if not isinstance(header, dict):
        raise BadFile("is no safetensors file: its header is no object")
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    ends = sorted(_tensor_range(name, entry) for name, entry in tensors.items())
    reached = 0
    for begin, end in ends:
        if begin != reached:
            raise BadFile(f"has a gap or an overlap at byte {reached} of its tensors")
        reached = end
    if reached != size - 8 - length:
        raise BadFile(f"has {size - 8 - length} bytes of tensors, and its header says {reached}")


def _tensor_range(name: str, entry: object) -> tuple[int, int]:
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(begin), int(end)]}:
            sides = [side for side in shape if isinstance(side, int) and side >= 0]
            known = dtype in _TENSOR_BITS and len(sides) == len(shape) and 0 <= begin <= end
            if known and end - begin == math.prod(sides) * _TENSOR_BITS[dtype] // 8:
                return begin, end
    raise BadFile(f"describes the tensor {name!r} wrongly")


def _check_npz(file: BinaryIO, size: int) -> None:
    from numpy.lib import format as npy  # noqa: PLC0415  # numpy, for this format only

    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        with zipfile.ZipFile(Sips(file)) as archive:
            for member in archive.infolist():
                with archive.open(member) as content:
                    array = Sips(content)
                    version = npy.read_magic(array)
                    if version not in readers:
                        raise BadFile(f"has {member.filename} in version {version} of its format")
                    _, _, dtype = readers[version](array)
                    if dtype.hasobject:
                        raise BadFile(f"has objects in {member.filename}, which are pickled")
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, OSError) as error:
        raise BadFile(f"is no npz file of {size} bytes ({error})") from error


_CHECKS: Final[Mapping[str, Callable[[BinaryIO, int], None]]] = {
    ".json": _check_json,
    ".npz": _check_npz,
    ".onnx": _check_onnx,
    ".safetensors": _check_safetensors,
    ".txt": _check_text,
}
