from typing import Any

import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from inference.open_inference_grpc_pb2 import ModelInferRequest, ModelInferResponse
from mesh_gateway import wire

REQUESTS = st.builds(
    ModelInferRequest,
    model_name=st.text(st.characters(exclude_categories=["Cs"])),
    id=st.text("ab", max_size=300),
    raw_input_contents=st.lists(st.binary(max_size=200), max_size=5),
)
NAME, INPUTS, RAW = 1, 5, 7


@given(REQUESTS)
def test_it_reads_what_the_library_wrote(request: ModelInferRequest) -> None:
    read = wire.last_bytes(request.SerializeToString(), NAME)
    assert (read or b"").decode() == request.model_name


@given(REQUESTS, REQUESTS)
def test_the_last_of_several_counts(one: ModelInferRequest, other: ModelInferRequest) -> None:
    both = one.SerializeToString() + other.SerializeToString()
    merged = ModelInferRequest.FromString(both)
    assert (wire.last_bytes(both, NAME) or b"").decode() == merged.model_name


@given(REQUESTS)
def test_it_keeps_the_fields_of_one_number(request: ModelInferRequest) -> None:
    kept = ModelInferRequest.FromString(wire.only(request.SerializeToString(), RAW))
    assert kept == ModelInferRequest(raw_input_contents=request.raw_input_contents)


@given(st.dictionaries(st.text("abc", max_size=5), st.floats(allow_nan=False) | st.booleans()))
def test_numbers_between_the_fields_are_stepped_over(numbers: dict[str, Any]) -> None:
    response = ModelInferResponse(model_name="a")
    for name, number in numbers.items():
        kind = "bool_param" if isinstance(number, bool) else "double_param"
        setattr(response.parameters[name], kind, number)
    assert wire.last_bytes(response.SerializeToString(), NAME) == b"a"
    # A message whose fields have a fixed size, or are a varint.
    value = struct_pb2.Value(number_value=1.5)
    assert wire.only(value.SerializeToString() + b"\x1a\x01a", 3) == b"\x1a\x01a"


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(message: bytes) -> None:
    try:
        found = wire.last_bytes(message, NAME)
    except ValueError:
        return
    assert found is None or found in message


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (b"\x0a\x05abc", "a field is longer than the message"),
        (b"\x0d\x00", "a field is longer than the message"),
        (b"\x0f", "there is no wire type 7"),
        (b"\x80" * 11, "a number is cut off or too long"),
        (b"\x0a", "a number is cut off or too long"),
    ],
)
def test_what_is_no_message_is_refused(message: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        wire.last_bytes(message, NAME)
