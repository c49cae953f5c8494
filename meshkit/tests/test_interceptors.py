import asyncio
import json
import logging

import pytest
from opentelemetry import trace

from meshkit import context, interceptors, logs, names
from meshkit.context import RequestContext
from meshkit.deadline import Deadline
from meshkit.errors import DeadlineExceeded, Internal, InvalidArgument, NotFound
from meshkit.interceptors import Call, intercepted

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def call(**metadata: str) -> Call:
    return Call("package.Service/Method", metadata, Deadline.after(10))


async def test_the_callers_trace_and_request_are_continued() -> None:
    seen: list[object] = []

    async def handler(call: Call, payload: bytes) -> bytes:
        seen.append(context.current())
        seen.append(trace.get_current_span().get_span_context().trace_id)
        seen.append(context.to_metadata()[names.TRACEPARENT][:36])
        return payload

    metadata = {
        names.REQUEST_ID: "r-1",
        names.KEY_ID: "k-1",
        names.TENANT: "t-1",
        names.TRACEPARENT: TRACEPARENT,
    }
    assert await intercepted(handler)(call(**metadata), b"payload") == b"payload"
    assert seen == [
        RequestContext("r-1", "k-1", "t-1"),
        0x0AF7651916CD43DD8448EB211C80319C,
        TRACEPARENT[:36],
    ]
    assert context.current() is None


def test_metadata_says_what_the_context_knows() -> None:
    known = RequestContext("r-1", "k-1", "t-1")
    with context.scope(known):
        there = context.from_metadata(context.to_metadata())
    assert there == known._replace(hops=1)
    assert context.to_metadata() == {}


async def test_calls_in_flight_are_counted_until_they_end_in_whatever_way() -> None:
    go_on = asyncio.Event()

    async def handler(call: Call, payload: bytes) -> bytes:
        await go_on.wait()
        if payload:
            raise NotFound("no such thing")
        return payload

    def in_flight() -> int:
        return interceptors._in_flight.calls

    before = in_flight()
    tasks = [
        asyncio.ensure_future(intercepted(handler)(call(), payload))
        for payload in (b"", b"fails", b"leaves")
    ]
    await asyncio.sleep(0)
    assert in_flight() == before + 3
    tasks[2].cancel()
    await asyncio.wait([tasks[2]])
    assert in_flight() == before + 2
    go_on.set()
    await asyncio.wait(tasks)
    assert in_flight() == before


async def test_a_mesh_error_passes_unchanged() -> None:
    async def handler(call: Call, payload: bytes) -> bytes:
        raise NotFound("no such thing")

    with pytest.raises(NotFound, match="no such thing"):
        await intercepted(handler)(call(), b"")


async def test_a_fault_becomes_internal_with_its_cause_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(call: Call, payload: bytes) -> bytes:
        raise ZeroDivisionError("a secret reason")

    with pytest.raises(Internal) as caught:
        await intercepted(handler)(call(), b"")
    assert "a secret reason" not in str(caught.value)
    assert "a secret reason" in caplog.text


async def test_a_passed_deadline_costs_no_work() -> None:
    async def handler(call: Call, payload: bytes) -> bytes:
        raise AssertionError("not to be reached")

    with pytest.raises(DeadlineExceeded):
        await intercepted(handler)(Call("m", {}, Deadline.after(-1)), b"")
    with pytest.raises(InvalidArgument, match="no deadline"):
        await intercepted(handler)(Call("m", {}, None), b"")


def test_a_log_line_is_json_with_the_ids(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logs.configure_logging("info", "example")
        span = trace.NonRecordingSpan(trace.SpanContext(trace_id=1, span_id=2, is_remote=False))
        with context.scope(RequestContext("r-1")), trace.use_span(span):
            logging.getLogger("a.logger").warning("what %s", "happened", extra={"items": 3})
        root.handlers[0].close()
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    line = json.loads(capsys.readouterr().err)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "WARNING",
        "logger": "a.logger",
        "message": "what happened",
        "service": "example",
        "request_id": "r-1",
        "trace_id": f"{1:032x}",
        "span_id": f"{2:016x}",
        "items": 3,
    }


async def test_a_call_that_is_cancelled_because_its_time_is_over_is_late() -> None:
    def counted(status: str) -> int:
        found = [
            sum(series.counts)
            for attributes, series in interceptors._duration.read()
            if attributes[names.RPC_STATUS] == status
            and attributes[names.RPC_METHOD] == "package.Service/Method"
        ]
        return sum(found)

    async def handler(call: Call, payload: bytes) -> bytes:
        raise asyncio.CancelledError

    before = counted("DEADLINE_EXCEEDED"), counted("CANCELLED")
    for left_s in (-1.0, 10.0):
        late = Call("package.Service/Method", {}, Deadline.after(left_s))
        with pytest.raises(asyncio.CancelledError):
            await interceptors.observe(handler)(late, b"")
    assert counted("DEADLINE_EXCEEDED") - before[0] == 1
    assert counted("CANCELLED") - before[1] == 1
