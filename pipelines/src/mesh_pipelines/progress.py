"""Progress bars of long steps."""

import sys
from typing import Any

from tqdm import tqdm

# Seconds between two states of a bar: on a terminal they replace each other, in a log they add up.
_TERMINAL_S = 0.1
_LOG_S = 10.0


def progress_bar(title: str, total: int | None, unit: str, done: int = 0) -> "tqdm[Any]":
    """A progress bar on stderr.

    Args:
        title: what is going on.
        total: units in all, where that is known.
        unit: what is counted; "B" for bytes.
        done: units that were there before.
    """
    return tqdm(
        desc=title,
        total=total,
        initial=done,
        unit=unit if unit == "B" else f" {unit}",
        unit_scale=unit == "B",
        mininterval=_TERMINAL_S if sys.stderr.isatty() else _LOG_S,
    )
