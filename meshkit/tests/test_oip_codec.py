"""Tensors to messages and back, against bytes that other means have made."""

import math
import struct
import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.open_inference_grpc_pb2 import (
    InferTensorContents,
    ModelInferRequest,
    ModelInferResponse,
)
from meshkit.errors import InvalidArgument
from meshkit.lineage import Lineage
from meshkit.oip import (
    Datatype,
    join_bytes,
    lineage_of,
    lineage_parameters,
    parameters_of,
    set_parameters,
)
from meshkit.oip_codec import (
    DTYPES,
    Tensor,
    add_inputs,
    add_outputs,
    inputs_of,
    is_raw,
    outputs_of,
    texts_of,
)

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
FLOATS: dict[Datatype, int] = {"FP16": 16, "FP32": 32, "FP64": 64}


def elements(datatype: Datatype) -> st.SearchStrategy[Any]:
    if datatype in INTEGERS:
        return st.integers(*INTEGERS[datatype])
    if datatype in FLOATS:
        return st.floats(width=FLOATS[datatype])  # type: ignore[arg-type]  # one of three widths
    return st.booleans() if datatype == "BOOL" else st.binary(max_size=20)


@st.composite
def tensors(draw: st.DrawFn, datatypes: Sequence[Datatype]) -> list[Tensor]:
    names = draw(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=4, unique=True))
    made = []
    for name in names:
        datatype = draw(st.sampled_from(datatypes))
        shape = draw(st.lists(st.integers(1, 3), max_size=4))
        count = math.prod(shape)
        flat = draw(st.lists(elements(datatype), min_size=count, max_size=count))
        made.append(Tensor(name, datatype, np.array(flat, DTYPES[datatype]).reshape(shape)))
    return made


def bits(tensor: Tensor) -> tuple[Any, ...]:
    """All of a tensor, with each NaN apart from the others and -0.0 from 0.0."""
    array = tensor.array
    content = array.ravel().tolist() if tensor.datatype == "BYTES" else array.tobytes()
    return tensor.name, tensor.datatype, array.dtype, array.shape, content


def over_the_wire(message: Any) -> Any:
    return type(message).FromString(message.SerializeToString())


@given(tensors(list(DTYPES)))
def test_raw_tensors_come_back_as_they_were(sent: list[Tensor]) -> None:
    request, response = ModelInferRequest(), ModelInferResponse()
    add_inputs(request, sent, raw=True)
    add_outputs(response, sent, raw=True)
    for read in (inputs_of(over_the_wire(request)), outputs_of(over_the_wire(response))):
        assert list(read) == [tensor.name for tensor in sent]
        assert [bits(tensor) for tensor in read.values()] == [bits(tensor) for tensor in sent]
    assert is_raw(request)
    assert is_raw(response)
    assert not any(tensor.HasField("contents") for tensor in request.inputs)


@given(tensors([datatype for datatype in DTYPES if datatype != "FP16"]))
def test_typed_tensors_come_back_as_they_were(sent: list[Tensor]) -> None:
    request, response = ModelInferRequest(), ModelInferResponse()
    add_inputs(request, sent, raw=False)
    add_outputs(response, sent, raw=False)
    for read in (inputs_of(over_the_wire(request)), outputs_of(over_the_wire(response))):
        # A NaN keeps that it is one through Python's floats, and not always its bits.
        for there, here in zip(read.values(), sent, strict=True):
            assert (there.name, there.datatype, there.array.shape) == (
                *(here.name, here.datatype),
                here.array.shape,
            )
            assert there.array.dtype == here.array.dtype
            assert [repr(each) for each in there.array.ravel().tolist()] == [
                repr(each) for each in here.array.ravel().tolist()
            ]
    assert not is_raw(request)
    assert not is_raw(response)


@pytest.mark.parametrize(
    ("datatype", "values", "layout"),
    [
        ("BOOL", [True, False, True], "<3?"),
        ("UINT8", [0, 255], "<2B"),
        ("UINT16", [1, 65535], "<2H"),
        ("UINT32", [1, 2**32 - 1], "<2I"),
        ("UINT64", [1, 2**64 - 1], "<2Q"),
        ("INT8", [-128, 127], "<2b"),
        ("INT16", [-2, 32767], "<2h"),
        ("INT32", [-2, 2**31 - 1], "<2i"),
        ("INT64", [-2, 2**63 - 1], "<2q"),
        ("FP16", [1.5, -65504.0], "<2e"),
        ("FP32", [1.5, float("inf")], "<2f"),
        ("FP64", [0.1, -0.0], "<2d"),
    ],
)
def test_raw_elements_are_those_of_struct(
    datatype: Datatype, values: list[Any], layout: str
) -> None:
    expected = struct.pack(layout, *values)
    request = ModelInferRequest()
    add_inputs(request, [Tensor.of("x", datatype, values)], raw=True)
    assert list(request.raw_input_contents) == [expected]
    assert list(request.inputs[0].shape) == [len(values)]
    assert inputs_of(request)["x"].array.tolist() == values


def test_raw_rows_stand_one_after_the_other_whatever_the_memory_layout() -> None:
    matrix = np.arange(6, dtype=np.int32).reshape(2, 3)
    request = ModelInferRequest()
    transposed, reversed_rows = matrix.T, matrix[::-1]
    add_inputs(
        request,
        [Tensor("columns", "INT32", transposed), Tensor("reversed", "INT32", reversed_rows)],
        raw=True,
    )
    assert list(request.raw_input_contents) == [
        struct.pack("<6i", 0, 3, 1, 4, 2, 5),
        struct.pack("<6i", 3, 4, 5, 0, 1, 2),
    ]
    assert [list(tensor.shape) for tensor in request.inputs] == [[3, 2], [2, 3]]


def test_raw_bytes_stand_behind_their_lengths() -> None:
    request = ModelInferRequest()
    texts = [[b"a", "\u00e9t\u00e9".encode()], [b"", b"\x00\xff"]]
    add_inputs(request, [Tensor.of("text", "BYTES", texts)], raw=True)
    assert list(request.raw_input_contents) == [
        b"\x01\x00\x00\x00a"
        b"\x05\x00\x00\x00\xc3\xa9t\xc3\xa9"
        b"\x00\x00\x00\x00"
        b"\x02\x00\x00\x00\x00\xff"
    ]
    assert inputs_of(request)["text"].array.tolist() == texts


@pytest.mark.parametrize(
    ("datatype", "values", "field"),
    [
        ("BOOL", [True, False], "bool_contents"),
        ("INT8", [-128, 127], "int_contents"),
        ("INT16", [-5], "int_contents"),
        ("INT32", [2**31 - 1], "int_contents"),
        ("INT64", [-(2**63)], "int64_contents"),
        ("UINT8", [255], "uint_contents"),
        ("UINT16", [65535], "uint_contents"),
        ("UINT32", [2**32 - 1], "uint_contents"),
        ("UINT64", [2**64 - 1], "uint64_contents"),
        ("FP32", [0.5], "fp32_contents"),
        ("FP64", [0.1], "fp64_contents"),
        ("BYTES", [b"a", b""], "bytes_contents"),
    ],
)
def test_typed_elements_stand_in_the_field_of_their_datatype(
    datatype: Datatype, values: list[Any], field: str
) -> None:
    request = ModelInferRequest()
    add_inputs(request, [Tensor.of("x", datatype, values)], raw=False)
    contents = request.inputs[0].contents
    assert [each.name for each, _ in contents.ListFields()] == [field]
    assert list(getattr(contents, field)) == values


def test_fp16_has_no_typed_form() -> None:
    tensor = Tensor.of("x", "FP16", [1.0])
    with pytest.raises(InvalidArgument, match="x is FP16, which has no typed form; use raw"):
        add_outputs(ModelInferResponse(), [tensor], raw=False)


def test_a_tensor_is_what_it_says() -> None:
    with pytest.raises(TypeError, match="x is FP32 and its array float64; make it float32"):
        Tensor("x", "FP32", np.zeros(1))


def raw_request(*tensors: tuple[str, str, list[int], bytes]) -> ModelInferRequest:
    request = ModelInferRequest()
    for name, datatype, shape, raw in tensors:
        request.inputs.add(name=name, datatype=datatype, shape=shape)
        request.raw_input_contents.append(raw)
    return request


def typed_request(datatype: str, shape: list[int], **contents: Any) -> ModelInferRequest:
    request = ModelInferRequest()
    request.inputs.add(
        name="x", datatype=datatype, shape=shape, contents=InferTensorContents(**contents)
    )
    return request


def refusal(request: ModelInferRequest) -> tuple[str, str]:
    """The field at fault, and the message."""
    with pytest.raises(InvalidArgument) as caught:
        inputs_of(request)
    (violation,) = caught.value.violations
    return violation.field, caught.value.message


@pytest.mark.parametrize(
    ("tensor", "field", "words"),
    [
        (("x", "INT32", [2], bytes(7)), "x", "x has 7 bytes and its shape takes 8 of INT32"),
        (("x", "INT32", [2], bytes(9)), "x", "x has 9 bytes and its shape takes 8"),
        (("x", "FP32", [2, 3], b""), "x", "x has 0 bytes and its shape takes 24"),
        (("x", "BOOL", [2], b"\x01\x02"), "x", "x has the byte 2; send BOOL as 0 or 1"),
        (("x", "BYTES", [1], b"\x05\x00\x00\x00four"), "x", "x ends within element 0 of the 1"),
        (("x", "BYTES", [1], b"\x05\x00"), "x", "ends within element 0"),
        (("x", "BYTES", [1], b""), "x", "ends within element 0"),
        (("x", "BYTES", [1], b"\xff\xff\xff\xff"), "x", "send the length of each, 4 bytes"),
        (("x", "BYTES", [3], join_bytes([b"a", b""])), "x", "ends within element 2 of the 3"),
        (("x", "BYTES", [1], join_bytes([b"a", b""])), "x", "has 4 bytes after the last of the 1"),
        (("x", "BYTES", [10**18], join_bytes([b"a"])), "x", "ends within element 1 of the 10000"),
        (("x", "INT8", [-1], b"a"), "x", "x has the size -1 in its shape; send sizes from 1"),
        (("x", "INT8", [2, 0], b""), "x", "has the size 0 in its shape"),
        (("x", "INT8", [2**32, 2**31], b"a"), "x", "more than 2^63-1 elements"),
        (("x", "INT8", [1] * 33, b"a"), "x", "has 33 dimensions and may have 32"),
        (("x", "INT8", [2**62], b"a"), "x", "has 1 bytes and its shape takes 4611686018427387904"),
        (("x", "BF16", [1], b"ab"), "x", "has the datatype 'BF16'; send one of BOOL, UINT8"),
        (("x", "int8", [1], b"a"), "x", "has the datatype 'int8'"),
        (("x", "", [1], b"a"), "x", "has the datatype ''"),
        (("y" * 500, "INT8", [0], b"a"), "y" * 100 + "...", "has the size 0"),
    ],
)
def test_raw_elements_that_do_not_fit(
    tensor: tuple[str, str, list[int], bytes], field: str, words: str
) -> None:
    found, message = refusal(raw_request(tensor))
    assert found == field
    assert words in message


@pytest.mark.parametrize(
    ("request_", "field", "words"),
    [
        (typed_request("INT8", [2], int_contents=[1, 128]), "x[1]", "is 128; send INT8 from -128"),
        (typed_request("INT8", [1], int_contents=[-129]), "x[0]", "x[0] is -129"),
        (typed_request("INT16", [1], int_contents=[2**15]), "x[0]", "INT16 from -32768 to 32767"),
        (typed_request("UINT8", [1], uint_contents=[256]), "x[0]", "UINT8 from 0 to 255"),
        (typed_request("UINT16", [1], uint_contents=[2**16]), "x[0]", "is 65536"),
        (typed_request("INT32", [2], int_contents=[1]), "x", "has 1 elements in int_contents and"),
        (typed_request("INT32", [1], int_contents=[1, 2]), "x", "its shape takes 1; send as many"),
        (typed_request("INT32", [1]), "x", "has 0 elements in int_contents"),
        (typed_request("FP32", [10**18], fp32_contents=[1]), "x", "its shape takes 10000000000"),
        (typed_request("FP32", [1], fp64_contents=[1]), "x", "is FP32 and has fp64_contents; send"),
        (
            typed_request("INT32", [1], int_contents=[1], bytes_contents=[b"1"]),
            *("x", "x is INT32 and has bytes_contents; send int_contents"),
        ),
        (typed_request("FP16", [1], fp32_contents=[1]), "x", "x is FP16, which has no typed form"),
        (typed_request("INT8", [0]), "x", "has the size 0"),
        (typed_request("STRING", [1]), "x", "has the datatype 'STRING'"),
    ],
)
def test_typed_elements_that_do_not_fit(
    request_: ModelInferRequest, field: str, words: str
) -> None:
    found, message = refusal(request_)
    assert found == field
    assert words in message


@pytest.mark.parametrize("datatype", ["INT8", "FP64", "BYTES"])
def test_a_shape_alone_takes_no_memory(datatype: str) -> None:
    requests = [
        raw_request(("x", datatype, [10**9, 10**9], b"a")),
        typed_request(datatype, [10**18]),
    ]
    for request in requests:
        refusal(request)
    tracemalloc.start()
    try:
        for request in requests:
            refusal(request)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * 1024


def test_the_forms_are_not_mixed() -> None:
    request = raw_request(("x", "INT32", [1], bytes(4)), ("y", "INT32", [1], bytes(4)))
    request.inputs[1].contents.int_contents.append(1)
    assert refusal(request) == (
        "y",
        "y has typed contents beside raw ones; send all tensors in one form",
    )


@pytest.mark.parametrize("count", [1, 3])
def test_each_input_has_its_raw_content(count: int) -> None:
    request = raw_request(("x", "INT32", [1], bytes(4)), ("y", "INT32", [1], bytes(4)))
    del request.raw_input_contents[:]
    request.raw_input_contents.extend([bytes(4)] * count)
    assert refusal(request) == (
        "raw_input_contents",
        f"raw_input_contents has {count} entries for 2 inputs; send one for each",
    )


def test_a_name_is_used_once() -> None:
    request = raw_request(("x", "INT32", [1], bytes(4)), ("x", "INT32", [1], bytes(4)))
    assert refusal(request) == ("x", "x is an input twice; send it once")


def test_parameters_come_back_as_they_were() -> None:
    sent: dict[str, bool | int | float | str] = {
        "yes": True,
        "no": False,
        "small": -(2**63),
        "large": 2**64 - 1,
        "half": 0.5,
        "whole": 1.0,
        "text": "",
        "zero": 0,
    }
    request = ModelInferRequest()
    set_parameters(request.parameters, sent)
    read = parameters_of(over_the_wire(request).parameters)
    assert read == sent
    assert {name: type(value) for name, value in read.items()} == {
        name: type(value) for name, value in sent.items()
    }
    assert request.parameters["large"].WhichOneof("parameter_choice") == "uint64_param"
    assert request.parameters["small"].WhichOneof("parameter_choice") == "int64_param"


def test_a_parameter_without_a_value_is_none() -> None:
    request = ModelInferRequest()
    request.parameters["empty"].SetInParent()
    assert parameters_of(request.parameters) == {}


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1])
def test_a_parameter_has_64_bits(number: int) -> None:
    with pytest.raises(InvalidArgument, match=r"parameters\[n\] does not fit into 64 bits"):
        set_parameters(ModelInferRequest().parameters, {"n": number})


@pytest.mark.parametrize("age_s", [None, 0.0, 12.25])
def test_lineage_comes_back_as_it_was(age_s: float | None) -> None:
    lineage = Lineage("classifier", "v1", "canary", "run-1", "test", age_s)
    assert lineage_of(lineage_parameters(lineage)) == lineage


@pytest.mark.parametrize("name", ["model", "version", "variant", "run", "deployment"])
def test_half_a_lineage_is_none(name: str) -> None:
    said = lineage_parameters(Lineage("classifier", "v1", "canary", "run-1", "test"))
    assert lineage_of({each: value for each, value in said.items() if each != name}) is None
    assert lineage_of({**said, name: 1}) is None


def test_texts_are_read_as_utf_8() -> None:
    tensor = Tensor.of("text", "BYTES", ["caf\u00e9".encode(), b""])
    assert texts_of(tensor) == ["caf\u00e9", ""]
    with pytest.raises(InvalidArgument, match=r"^text\[1\] is not valid UTF-8 \(byte 3\); send"):
        texts_of(Tensor.of("text", "BYTES", [b"good", b"caf\xe9"]))
