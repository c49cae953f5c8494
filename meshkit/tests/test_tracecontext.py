import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanContext, TraceFlags

from meshkit import tracecontext
from meshkit.keys import ApiKey

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_traceparent_names_the_caller() -> None:
    found = tracecontext.parse(f"00-{TRACE}-{SPAN}-01", "a=1,b=2")
    assert found is not None
    assert (found.trace_id, found.span_id) == (int(TRACE, 16), int(SPAN, 16))
    assert found.is_remote
    assert found.trace_flags == TraceFlags(1)
    assert dict(found.trace_state) == {"a": "1", "b": "2"}


def test_flags_that_are_not_known_are_not_kept() -> None:
    found = tracecontext.parse(f"00-{TRACE}-{SPAN}-ff", None)
    assert found is not None
    assert found.trace_flags == 3


@given(
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.integers(0, 3),
)
def test_what_is_injected_is_parsed(trace_id: int, span_id: int, flags: int) -> None:
    metadata: dict[str, str] = {}
    span = SpanContext(trace_id, span_id, False, tracecontext.flags(flags))
    tracecontext.inject(metadata, span)
    found = tracecontext.from_metadata(metadata)
    assert found is not None
    assert (found.trace_id, found.span_id, found.trace_flags) == (trace_id, span_id, flags)


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_text_is_parsed_or_passed_over(traceparent: str, tracestate: str) -> None:
    assert tracecontext.parse(traceparent, tracestate) is None
    found = tracecontext.parse(f"00-{TRACE}-{SPAN}-01", tracestate)
    assert found is not None
    assert found.trace_id == int(TRACE, 16)


@pytest.mark.parametrize(
    "secret",
    [ApiKey.generate().text, "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"],
    ids=["key", "token"],
)
def test_a_state_with_a_credential_is_not_kept(secret: str) -> None:
    found = tracecontext.parse(f"00-{TRACE}-{SPAN}-01", f"a=1,b={secret}")
    assert found is not None
    assert dict(found.trace_state) == {}
