"""Elements of tensors in JSON, against what numpy and struct make of them."""

import json
import struct
import tracemalloc
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_gateway.oip_json import pack, unpack
from meshkit.errors import InvalidArgument
from meshkit.oip import Datatype, join_bytes
from meshkit.oip_codec import DTYPES

INTEGERS: dict[Datatype, tuple[int, int]] = {
    "UINT8": (0, 2**8 - 1),
    "UINT16": (0, 2**16 - 1),
    "UINT32": (0, 2**32 - 1),
    "UINT64": (0, 2**64 - 1),
    "INT8": (-(2**7), 2**7 - 1),
    "INT16": (-(2**15), 2**15 - 1),
    "INT32": (-(2**31), 2**31 - 1),
    "INT64": (-(2**63), 2**63 - 1),
}
SMALLER: dict[Datatype, int] = {"FP32": 32, "FP64": 64}


def packed(datatype: Datatype, shape: list[int], data: str | bytes) -> bytes:
    raw = msgspec.Raw(data.encode() if isinstance(data, str) else data)
    return pack("x", datatype, shape, int(np.prod(shape, dtype=object)), raw)


def refusal(datatype: Datatype, shape: list[int], data: str | bytes) -> tuple[str, str]:
    """The field at fault, and the message."""
    with pytest.raises(InvalidArgument) as caught:
        packed(datatype, shape, data)
    violations = caught.value.violations
    return violations[0].field if violations else "", caught.value.message


@st.composite
def numbers(draw: st.DrawFn) -> tuple[Datatype, list[Any]]:
    datatype: Datatype = draw(st.sampled_from([*INTEGERS, *SMALLER, "BOOL"]))
    if datatype in INTEGERS:
        element: st.SearchStrategy[Any] = st.integers(*INTEGERS[datatype])
    elif datatype == "BOOL":
        element = st.booleans()
    else:
        width: Any = SMALLER[datatype]
        element = st.floats(width=width, allow_nan=False, allow_infinity=False)
    return datatype, draw(st.lists(element, min_size=1, max_size=24))


@given(numbers(), st.data())
def test_flat_or_nested_the_elements_are_those_of_numpy(
    sent: tuple[Datatype, list[Any]], data: st.DataObject
) -> None:
    datatype, flat = sent
    count = len(flat)
    rows = data.draw(st.sampled_from([size for size in range(1, count + 1) if count % size == 0]))
    array = np.array(flat, DTYPES[datatype]).reshape(rows, 1, count // rows)
    shape = list(array.shape)
    expected = array.tobytes()
    assert packed(datatype, shape, json.dumps(flat)) == expected
    assert packed(datatype, shape, json.dumps(array.tolist(), indent=1)) == expected
    assert unpack("x", datatype, count, expected) == flat


@given(st.lists(st.text(), min_size=1, max_size=8))
def test_texts_become_bytes_in_utf8(texts: list[str]) -> None:
    raw = packed("BYTES", [len(texts)], json.dumps(texts))
    assert raw == b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in texts)
    assert unpack("x", "BYTES", len(texts), raw) == texts


def test_a_whole_number_is_a_float_too() -> None:
    assert packed("FP32", [2], "[1, -2e3]") == struct.pack("<2f", 1.0, -2000.0)


@pytest.mark.parametrize("shape", [[], [1], [1, 1]])
def test_one_element_fits_every_shape_of_one(shape: list[int]) -> None:
    assert packed("INT8", shape, "[7]") == b"\x07"


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "field", "words"),
    [
        ("INT8", [2], "[1, 128]", "x[1]", "x[1]: expected 'int' <= 127"),
        ("INT8", [1], "[-129]", "x[0]", "expected 'int' >= -128"),
        ("INT64", [1], "[9223372036854775808]", "x[0]", "expected 'int' <= 9223372036854775807"),
        ("UINT8", [1], "[-1]", "x[0]", "expected 'int' >= 0"),
        ("UINT64", [2], "[1, 18446744073709551616]", "x[1]", "x[1] is too large for UINT64"),
        ("INT32", [1], "[1.5]", "x[0]", "expected 'int', got 'float'"),
        ("INT32", [1], "[true]", "x[0]", "expected 'int', got 'bool'"),
        ("BOOL", [1], "[1]", "x[0]", "expected 'bool', got 'int'"),
        ("FP32", [2], "[1, 1e39]", "x[1]", "x[1] is too large for FP32; send a smaller number"),
        ("FP32", [5], "[1, 2, -1e39, 1e39, 3]", "x[2]", "x[2] is too large for FP32"),
        ("UINT64", [1], f"[{2**64}]", "x[0]", "x[0] is too large for UINT64"),
        ("FP64", [1], "[1e999]", "x[0]", "number out of range"),
        ("FP64", [1], "[" + "9" * 400 + "]", "x[0]", "number out of range"),
        ("FP32", [1], '["1"]', "x[0]", "expected 'float', got 'str'"),
        ("BYTES", [1], "[1]", "x[0]", "expected 'str', got 'int'"),
        ("BYTES", [1], "[null]", "x[0]", "expected 'str', got 'null'"),
        ("INT32", [1], "1", "x", "x: expected 'array', got 'int'"),
        ("INT32", [1], "null", "x", "expected 'array', got 'null'"),
        ("INT32", [1], '{"0": 1}', "x", "expected 'array', got 'object'"),
        ("INT32", [2], "[[1], [2]]", "x[0]", "x[0]: expected 'int', got 'array'"),
        ("INT32", [2, 1], "[[1], 2]", "x[1]", "x[1]: expected 'array', got 'int'"),
        ("INT32", [2, 1], "[[[1]], [[2]]]", "x[0][0]", "expected 'int', got 'array'"),
        ("INT32", [2, 2], "[[1, 2], [3]]", "x", "has 1 elements in dimension 1 and its shape take"),
        ("INT32", [1, 2], "[[]]", "x", "has 0 elements in dimension 1 and its shape takes 2"),
        ("INT32", [2, 1], "[[1]]", "x", "has 1 elements in dimension 0 and its shape takes 2"),
        ("INT32", [2], "[]", "x", "x has 0 elements and its shape takes 2; send as many"),
        ("INT32", [2], "[1, 2, 3]", "x", "has 3 elements and its shape takes 2"),
        ("INT32", [10**18], "[1]", "x", "its shape takes 1000000000000000000"),
        ("INT32", [10**9, 10**9], "[[1]]", "x", "has 1 elements in dimension 0"),
        ("FP16", [1], "[1]", "x", "x is FP16, which has no form in JSON; send it as binary data"),
        ("BYTES", [1], b'["caf\xe9"]', "", "x is not valid UTF-8 (byte 5); send JSON encoded as"),
    ],
)
def test_elements_that_do_not_fit_are_named(
    datatype: Datatype, shape: list[int], data: str | bytes, field: str, words: str
) -> None:
    found, message = refusal(datatype, shape, data)
    assert found == field
    assert words in message


@pytest.mark.parametrize(
    ("datatype", "raw", "words"),
    [
        (
            "FP16",
            b"\0\0",
            "x is FP16, which has no form in JSON; ask for the output as binary data",
        ),
        ("FP32", struct.pack("<f", float("nan")), "x[0] is nan, which has no form in JSON"),
        ("FP64", struct.pack("<d", float("-inf")), "x[0] is -inf, which has no form in JSON"),
        ("BYTES", join_bytes([b"\xff"]), "x[0] is not valid UTF-8, which has no form in JSON"),
    ],
)
def test_what_json_has_no_form_for_is_said(datatype: Datatype, raw: bytes, words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        unpack("x", datatype, 1, raw)
    assert words in caught.value.message


@pytest.mark.parametrize("shape", [[10**18], [10**9, 10**9], [1] * 31 + [10**18]])
def test_a_shape_alone_takes_no_memory(shape: list[int]) -> None:
    refusal("INT32", shape, "[1]")
    tracemalloc.start()
    try:
        refusal("INT32", shape, "[1]")
        refusal("INT32", shape, "[" * len(shape) + "1" + "]" * len(shape))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * 1024
