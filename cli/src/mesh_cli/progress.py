"""Progress of long steps: one line that lives on a terminal, a line now and then elsewhere."""

import shutil
import sys
import threading
import time
from types import TracebackType
from typing import Self, TextIO

_TICK_S = 0.5
# A log that stays silent for longer than this looks stuck.
_QUIET_S = 15.0


class Step:
    """One long step: its title, what it is at, and the seconds it has taken.

    On a terminal the line is rewritten in place; elsewhere the title is printed at the start, the
    note every 15 s, and the outcome at the end.
    """

    def __init__(self, title: str, out: TextIO | None = None) -> None:
        self._title = title
        self._note = ""
        self._out = out or sys.stdout
        self._live = self._out.isatty()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)
        self._started = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self._started

    def note(self, text: str) -> None:
        """Says what the step is at now."""
        with self._lock:
            self._note = text

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        if not self._live:
            self._print(f"{self._title} ...")
        self._ticker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._ticker.join()
        outcome = "done" if error is None else "failed"
        self._print(f"{self._title}: {outcome} in {self.elapsed_s:.1f} s", final=True)

    def _tick(self) -> None:
        while not self._over.wait(_TICK_S if self._live else _QUIET_S):
            with self._lock:
                note = f" {self._note}" if self._note else ""
            self._print(f"{self._title} ...{note} [{self.elapsed_s:.0f} s]")

    def _print(self, line: str, *, final: bool = False) -> None:
        if not self._live:
            self._out.write(line + "\n")
        else:
            width = shutil.get_terminal_size().columns - 1
            self._out.write(f"\r\x1b[K{line[:width]}" + ("\n" if final else ""))
        self._out.flush()
