"""Many texts through a tokenizer and a graph, on all cores."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mesh_pipelines.progress import progress_bar
from mesh_pipelines.text_encoder import PAD_ID
from meshkit import cpu
from meshkit.onnx import FloatArray, TextGraph, TextTokenizer, pad

# Wider runs are slower on a processor: what they work on no longer fits its cache.
BATCH_SIZE = 16

# Token ids of each text.
Rows = Sequence[Sequence[int]]
Places = npt.NDArray[np.int64]


def tokenize(tokenizer: TextTokenizer, texts: Sequence[str]) -> Rows:
    """Token ids of each text."""
    return [tokens.ids for tokens in tokenizer.encode(texts)]


def run_graph(
    graph: Path,
    outputs: Mapping[str, int],
    rows: Rows,
    *,
    batch_size: int = BATCH_SIZE,
    order: Places | None = None,
    title: str | None = None,
) -> list[FloatArray]:
    """Runs texts through an ONNX graph and returns its outputs, a row for each text.

    Args:
        graph: the graph's file.
        outputs: the outputs to compute, each with its number of dimensions.
        rows: token ids of each text.
        batch_size: texts in one run.
        order: texts that stand together here share a run; those of like length by default.
        title: of the progress bar; none is shown without it.
    """
    # Runs side by side on a thread each: threads that share a run wait for each other.
    session = TextGraph(graph, outputs, threads=1)
    order = _by_length(rows) if order is None else order

    def run(places: Places) -> list[FloatArray]:
        return session.run(*pad([rows[place] for place in places], PAD_ID))

    parts = []
    with (
        progress_bar(title, len(rows), "texts") if title else nullcontext() as bar,
        ThreadPoolExecutor(cpu.threads()) as pool,
    ):
        for part in pool.map(run, _runs(order, batch_size)):
            parts.append(part)
            if bar:
                bar.update(len(part[0]))
    back = np.argsort(order)
    return [np.concatenate(output)[back] for output in zip(*parts, strict=True)]


def _by_length(rows: Rows) -> Places:
    """An order in which neighbours have like lengths, so that little is padded."""
    return np.argsort([len(row) for row in rows], kind="stable")


def _runs(order: Places, size: int) -> Iterator[Places]:
    for start in range(0, len(order), size):
        yield order[start : start + size]
