"""Events out of a stream of bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_llm.engines.sse import MAX_EVENT_BYTES, EventReader, NoEventStream

STREAM = (
    b": a comment\r\n\r\ndata: one\r\n\r\nevent: x\ndata:two\ndata: lines\n\n"
    b"id: 7\n\ndata: caf\xc3\xa9\n\ndata\n\n\n\ndata: unfinished"
)
EVENTS = ["one", "two\nlines", "caf\u00e9", ""]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_events_are_found_however_the_bytes_are_cut(places: list[int]) -> None:
    reader = EventReader()
    ends = sorted(places)
    pieces = [STREAM[start:end] for start, end in zip([0, *ends], [*ends, None], strict=True)]
    assert [event for piece in pieces for event in reader.feed(piece)] == EVENTS


def test_an_event_without_an_end_is_not_kept_for_ever() -> None:
    reader = EventReader()
    for _ in range(MAX_EVENT_BYTES // 65536):
        reader.feed(b"x" * 65536)
    with pytest.raises(NoEventStream, match="bytes"):
        reader.feed(b"x")


def test_many_events_are_not_one_long_one() -> None:
    reader = EventReader()
    event = b"data: " + b"x" * 65536 + b"\n\n"
    count = sum(len(reader.feed(event)) for _ in range(MAX_EVENT_BYTES // 65536 + 10))
    assert count == MAX_EVENT_BYTES // 65536 + 10


def test_an_event_that_is_no_text_is_refused() -> None:
    with pytest.raises(NoEventStream, match="UTF-8"):
        EventReader().feed(b"data: \xff\n\n")
