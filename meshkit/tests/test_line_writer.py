"""Lines that nobody reads delay nobody."""

import contextlib
import io
import os
import threading
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from meshkit.line_writer import CLOSE_S, LineWriter

CAPACITY = 3


def joined(lines: Sequence[str]) -> bytes:
    return "".join(lines).encode()


@pytest.fixture
def lost() -> list[int]:
    return []


@pytest.fixture
def full_pipe() -> Iterator[io.FileIO]:
    """The end of a pipe in which there is no more room, that nobody reads."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    os.set_blocking(writer, True)
    with io.FileIO(writer, "w") as out, io.FileIO(reader):
        yield out


def test_lines_are_written_in_their_order_and_the_last_ones_at_the_end(lost: list[int]) -> None:
    out = io.BytesIO()
    writer = LineWriter(joined, capacity=CAPACITY, lost=lost.append, out=out)
    writer.start()
    for line in ("a", "b", "c"):
        writer.add(line)
    writer.close()
    assert out.getvalue() == b"abc"
    assert lost == []


def test_a_file_that_takes_part_of_a_line_gets_the_rest(lost: list[int]) -> None:
    class Slow(io.BytesIO):
        def write(self, data: Any) -> int:
            return super().write(bytes(data[:2]))

    out = Slow()
    writer = LineWriter(joined, capacity=CAPACITY, lost=lost.append, out=out)
    writer.start()
    writer.add("abcde")
    writer.close()
    assert out.getvalue() == b"abcde"


def test_a_pipe_that_nobody_reads_holds_nobody(full_pipe: io.FileIO, lost: list[int]) -> None:
    writer = LineWriter(joined, capacity=CAPACITY, lost=lost.append, out=cast(Any, full_pipe))
    writer.start()
    for _ in range(10 * CAPACITY):
        writer.add("a")
    assert sum(lost) >= 8 * CAPACITY
    ending = threading.Thread(target=writer.close)
    ending.start()
    ending.join(20 * CLOSE_S)
    assert not ending.is_alive()
