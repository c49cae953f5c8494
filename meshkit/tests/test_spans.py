import logging
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind

from meshkit import spans, tracecontext
from meshkit.errors import Cancelled, Internal, InvalidArgument

NOWHERE = spans.Export(0.0, None, Resource.get_empty())


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    spans.export_to(spans.Export(0.0, SimpleSpanProcessor(exporter), Resource({"a": "b"})))
    yield exporter
    spans.export_to(NOWHERE)


def test_a_fault_that_was_not_sampled_is_exported_under_the_ids_that_were_told(
    exported: InMemorySpanExporter,
) -> None:
    parent = tracecontext.parse(f"00-{'a' * 32}-{'b' * 16}-00", "vendor=1")
    span = spans.server(parent)
    assert not span.sampled
    assert not span.wanted(fault=False)
    assert span.exemplar(wanted=False) is None
    assert span.wanted(fault=True)
    span.export("name", 1.5, {"x": 1}, "INTERNAL")
    (found,) = exported.get_finished_spans()
    assert found.context is not None
    assert found.context.span_id == span.get_span_context().span_id
    assert found.context.trace_id == int("a" * 32, 16)
    assert dict(found.context.trace_state) == {"vendor": "1"}
    assert found.parent is not None
    assert found.parent.span_id == int("b" * 16, 16)
    assert found.attributes == {"x": 1, "error.type": "INTERNAL"}
    assert found.status.status_code is trace.StatusCode.ERROR
    assert found.start_time is not None
    assert found.end_time == found.start_time + 1_500_000_000
    assert dict(found.resource.attributes) == {"a": "b"}


def test_a_sampled_one_is_exported_however_it_ends(exported: InMemorySpanExporter) -> None:
    span = spans.server(tracecontext.parse(f"00-{'a' * 32}-{'b' * 16}-01", None))
    assert span.wanted(fault=False)
    assert span.exemplar(wanted=False) == span.get_span_context()
    span.export("name", 0.1, {}, None)
    (found,) = exported.get_finished_spans()
    assert found.status.status_code is trace.StatusCode.UNSET
    assert found.kind is SpanKind.SERVER


def test_without_a_collector_nothing_is_wanted() -> None:
    span = spans.server(None)
    assert not span.wanted(fault=True)
    span.export("name", 0.1, {}, "INTERNAL")


def test_a_call_comes_from_the_current_span() -> None:
    with spans.server(None) as outer:
        inner = spans.client().get_span_context()
        assert trace.get_current_span() is outer
    assert inner.trace_id == outer.get_span_context().trace_id
    assert inner.span_id != outer.get_span_context().span_id
    assert spans.client().get_span_context().trace_id != inner.trace_id
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_spans_of_other_libraries_become_its_children() -> None:
    with spans.server(tracecontext.parse(f"00-{'a' * 32}-{'b' * 16}-01", None)) as outer:
        provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(0)), shutdown_on_exit=False)
        with provider.get_tracer("other").start_as_current_span("inner") as inner:
            assert inner.is_recording()
            assert inner.get_span_context().trace_id == outer.get_span_context().trace_id


@given(st.floats(0, 1), st.integers(1, 2**128 - 1))
def test_the_ratio_decides_as_the_sdk_does(ratio: float, trace_id: int) -> None:
    spans.export_to(spans.Export(ratio, None, Resource.get_empty()))
    try:
        bound = TraceIdRatioBased.get_bound_for_rate(ratio)
        assert spans.is_sampled(trace_id) == (trace_id & (2**64 - 1) < bound)
    finally:
        spans.export_to(NOWHERE)


def test_a_hundredth_is_sampled() -> None:
    spans.export_to(spans.Export(0.01, None, Resource.get_empty()))
    try:
        sampled = sum(spans.server(None).sampled for _ in range(50_000))
    finally:
        spans.export_to(NOWHERE)
    # Twelve standard deviations either way.
    assert 230 < sampled < 770


def test_a_seed_that_others_set_does_not_repeat_ids() -> None:
    state = random.getstate()
    seen: set[tuple[int, int]] = set()
    for _ in range(2):
        random.seed(1)
        context = spans.server(None).get_span_context()
        seen.add((context.trace_id, context.span_id))
    random.setstate(state)
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (Internal("x"), "INTERNAL"),
        (ZeroDivisionError(), "ZeroDivisionError"),
        (InvalidArgument("x"), None),
        (Cancelled("x"), None),
    ],
)
def test_a_fault_within_is_noted(error: Exception, fault: str | None) -> None:
    with spans.server(None) as span:
        spans.note_fault(error)
    assert span.fault == fault


def test_a_fault_outside_any_span_is_nobodys(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        spans.note_fault(Internal("x"))
    assert caplog.records == []
