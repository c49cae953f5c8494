"""Texts to batches of token ids, and batches through a graph on all cores."""


from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from meshkit import cpu
from tokenizers import Tokenizer
from tqdm import tqdm

MAX_LENGTH = 256
PAD_ID = 0

# Token ids of each text.
Rows = Sequence[Sequence[int]]
Ids = npt.NDArray[np.int64]
Feeds = dict[str, Ids]


def load_tokenizer(path: Path) -> Tokenizer:
    """The published tokenizer without its own padding and truncation, which belong to the server."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def tokenize(tokenizer: Tokenizer, texts: Sequence[str]) -> Rows:
    """Token ids of each text, at most MAX_LENGTH of them, the special ones included."""
    tokenizer.enable_truncation(MAX_LENGTH)
    try:
        return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    finally:
        tokenizer.no_truncation()


def pad(rows: Rows) -> Feeds:
    """A rectangular batch from token ids of unequal length."""
    length = max(map(len, rows))
    input_ids = np.full((len(rows), length), PAD_ID, dtype=np.int64)
    attention_mask = np.zeros_like(input_ids)
    for index, row in enumerate(rows):
        input_ids[index, : len(row)] = row
        attention_mask[index, : len(row)] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def by_length(rows: Rows) -> Ids:
    """An order in which neighbours have like lengths, so that batches hold little padding."""
    return np.argsort([len(row) for row in rows], kind="stable")


def run_graph(
    graph: Path,
    rows: Rows,
    *,
    batch_size: int = 32,
    order: Ids | None = None,
    progress: str | None = None,
) -> list[npt.NDArray[np.float32]]:
    """Runs texts through an ONNX graph and returns its outputs, a row for each text.

    Args:
        graph: the graph's file.
        rows: token ids of each text.
        batch_size: texts in one run.
        order: which texts share a batch; those of like length by default.
        progress: title of the progress bar; none is shown without it.
    """
    session = open_session(graph, cpu.threads())
    order = by_length(rows) if order is None else order
    outputs: list[npt.NDArray[np.float32]] = []
    with tqdm(total=len(rows), desc=progress, unit=" texts", disable=progress is None) as bar:
        for chosen in _chunks(order, batch_size):
            results = session.run(None, pad([rows[index] for index in chosen]))
            if not outputs:
                outputs = [np.empty((len(rows), *part.shape[1:]), part.dtype) for part in results]
            for output, part in zip(outputs, results, strict=True):
                output[chosen] = part
            bar.update(len(chosen))
    return outputs


def open_session(graph: Path, threads: int) -> onnxruntime.InferenceSession:
    """Opens a graph on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _chunks(order: Ids, size: int) -> Iterator[Ids]:
    for start in range(0, len(order), size):
        yield order[start : start + size]
