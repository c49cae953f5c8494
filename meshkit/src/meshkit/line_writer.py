"""Lines of a log, written by a thread of their own: who has something to say never waits.

A pipe that nobody reads holds whoever writes to it for ever, and a thread that holds the lock of a
buffered stream meanwhile holds everybody else. So lines wait in a bounded list, go to the file
itself, and are lost where there is no room for them.
"""

import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import BinaryIO, Final, Generic, TypeVar, cast

L = TypeVar("L")

CLOSE_S: Final = 2.0
"""Most seconds that the end of a process waits for its last lines to be taken."""
_WRITE_EVERY_S: Final = 0.1
# The logs of a process go to one place, a whole line at a time.
_writing = threading.Lock()


class LineWriter(Generic[L]):
    """Writes lines, many at once.

    Args:
        encode: makes bytes of lines.
        capacity: most lines that wait.
        lost: told how many lines are lost, because they had no room or could not be written.
        out: where they go; stderr by default.
    """

    def __init__(
        self,
        encode: Callable[[Sequence[L]], bytes],
        *,
        capacity: int,
        lost: Callable[[int], None],
        out: BinaryIO | None = None,
    ) -> None:
        self._encode = encode
        self._capacity = capacity
        self._lost = lost
        # The file beneath the buffer, whose lock a write that does not end would keep.
        self._out = out or cast(BinaryIO, getattr(sys.stderr.buffer, "raw", sys.stderr.buffer))
        self._waiting: deque[L] = deque()
        self._news = threading.Event()
        self._closing = threading.Event()
        # A process ends even while it writes.
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)

    def add(self, line: L) -> None:
        """Takes a line, or loses it where too many wait."""
        if len(self._waiting) >= self._capacity:
            self._lost(1)
            return
        self._waiting.append(line)
        if not self._news.is_set():
            self._news.set()

    def start(self) -> None:
        """Begins to write."""
        self._thread.start()

    def close(self) -> None:
        """Writes what still waits, for `CLOSE_S` at most, and ends."""
        self._closing.set()
        self._news.set()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._news.wait()
            self._news.clear()
            self._write()
            self._closing.wait(_WRITE_EVERY_S)
        self._write()

    def _write(self) -> None:
        lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
        rest = memoryview(self._encode(lines))
        try:
            with _writing:
                while rest:
                    rest = rest[self._out.write(rest) :]
        except OSError:  # a full disk or a closed pipe ends the log, not the process
            self._lost(len(lines))
