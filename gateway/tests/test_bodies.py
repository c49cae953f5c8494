"""Bodies, whatever is in them."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mesh_gateway import bodies
from mesh_gateway.routes.classify import ClassifyRequest
from meshkit.errors import InvalidArgument

decoder = msgspec.json.Decoder(ClassifyRequest)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
shaped = st.fixed_dictionaries(
    {}, optional={"texts": values, "allow_degraded": values, "other": values}
)


def outcome(body: bytes) -> ClassifyRequest | InvalidArgument:
    try:
        return bodies.decode(decoder, body)
    except InvalidArgument as refusal:
        return refusal


@given(st.lists(st.text()), st.booleans())
def test_a_valid_body_is_what_it_says(texts: list[str], allowed: bool) -> None:
    body = json.dumps({"texts": texts, "allow_degraded": allowed}).encode()
    assert bodies.decode(decoder, body) == ClassifyRequest(texts, allowed)


def test_a_fallback_is_allowed_where_nothing_is_said() -> None:
    assert bodies.decode(decoder, b'{"texts": []}').allow_degraded is True


@given(shaped)
def test_any_json_is_either_valid_or_refused_with_a_field(value: dict[str, Any]) -> None:
    decoded = outcome(json.dumps(value).encode())
    if isinstance(decoded, ClassifyRequest):
        assert decoded.texts == value["texts"]
    elif decoded.reason == "INVALID_ARGUMENT":
        (violation,) = decoded.violations
        assert violation.field.startswith(("body", "texts", "allow_degraded"))
    else:
        assert decoded.reason == "BODY_NOT_JSON"  # it has NaN or infinity


@given(st.binary())
@example(b'{"texts": ["\xff"]}')
@example(b'{"\xff": 1}')
def test_any_bytes_are_either_valid_or_refused(body: bytes) -> None:
    decoded = outcome(body)
    assert isinstance(decoded, ClassifyRequest) or decoded.message


@pytest.mark.parametrize("depth", [100, 100_000])
def test_deep_nesting_is_no_way_in(depth: int) -> None:
    with pytest.raises(InvalidArgument):
        bodies.decode(decoder, b'{"other": ' + b"[" * depth + b"]" * depth + b"}")
