"""How fast a graph is, by CPU time, which other work on the machine disturbs little."""

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mesh_classifier.training.encoding import BATCH_SIZE, Rows
from mesh_classifier.training.export import OUTPUTS
from mesh_pipelines.text_encoder import PAD_ID
from meshkit.onnx import TextGraph, pad

_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Speed:
    """The speed of one graph on one thread."""

    median_ms_alone: float
    """CPU milliseconds of a text that runs alone."""
    texts_per_cpu_second: float
    """In runs of BATCH_SIZE texts of like length."""


def compare(graphs: Mapping[str, Path], rows: Rows) -> dict[str, Speed]:
    """Times graphs in turn, so that what else the machine does falls on all of them alike.

    Args:
        graphs: files by name.
        rows: token ids of some texts.
    """
    by_length = sorted(rows, key=len)
    sessions = {name: TextGraph(graph, OUTPUTS, threads=1) for name, graph in graphs.items()}
    alone: dict[str, list[float]] = {name: [] for name in graphs}
    rates: dict[str, list[float]] = {name: [] for name in graphs}
    for _ in range(_ROUNDS):
        for name, session in sessions.items():
            alone[name] += run_times_s(session, by_length, 1)
            rates[name].append(len(rows) / sum(run_times_s(session, by_length, BATCH_SIZE)))
    return {
        name: Speed(statistics.median(alone[name]) * 1000, statistics.median(rates[name]))
        for name in graphs
    }


def run_times_s(session: TextGraph, rows: Rows, size: int) -> list[float]:
    """The CPU seconds of each run, over all texts in their order."""
    times = []
    for start in range(0, len(rows), size):
        inputs = pad(rows[start : start + size], PAD_ID)
        began = time.thread_time()
        session.run(*inputs)
        times.append(time.thread_time() - began)
    return times
