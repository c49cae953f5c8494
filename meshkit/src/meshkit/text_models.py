"""What services that run a text model of the store on ONNX Runtime share.

A version has one graph or several, `tokenizer.json`, and `config.json`, which says how texts become
inputs of a graph.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self, TypeVar

import msgspec
import numpy as np

from meshkit.errors import StartError
from meshkit.onnx import FloatArray, TextGraph, bucket_of, cuda_available
from meshkit.store import DamagedVersion, Version

T = TypeVar("T")

_SHORTEST_BUCKET: Final = 16
# With so many a text costs hardly more than with many (the classifier in INT8: 1.05 times).
_LEAST_SHARE: Final = 4
# English has some 4.4 bytes of UTF-8 a token, most other languages fewer; special tokens are two.
_BYTES_PER_TOKEN: Final = 4
_SPECIAL_TOKENS: Final = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """How runs of the graph share the threads.

    Attributes:
        max_batch_size: most texts in one run.
        workers: runs at once.
        threads: threads of one run.
        least_share: texts that are run together although another run could begin beside them.
    """

    max_batch_size: int
    workers: int
    threads: int
    least_share: int

    @classmethod
    def of(cls, max_batch_size: int, threads: int) -> Self:
        """Runs of one text go side by side, a thread each; wide runs two at a time, half each.

        While one of two tokenizes or waits for its slowest thread, the other computes. More threads
        than there are would have every run's wait for the others'.
        """
        if max_batch_size == 1:
            return cls(max_batch_size=1, workers=threads, threads=1, least_share=1)
        workers = min(2, threads)
        # Two runs share the threads and would not share a GPU, which is as fast with many texts.
        least_share = max_batch_size if cuda_available() else min(_LEAST_SHARE, max_batch_size)
        return cls(max_batch_size, workers, threads // workers, least_share)


def buckets_up_to(max_length: int) -> tuple[int, ...]:
    """Powers of two from 16 on, and `max_length` as the last."""
    powers = []
    length = _SHORTEST_BUCKET
    while length < max_length:
        powers.append(length)
        length *= 2
    return (*powers, max_length)


def likely_bucket(text: str, buckets: Sequence[int]) -> int:
    """The length bucket that a text likely falls into, by its bytes.

    Texts share a run by it. It is a guess, since tokens are counted only when the text's turn
    comes: a caller that leaves before costs nothing. A wrong one costs some padding.

    Args:
        text: any text.
        buckets: ascending; the last is as long as the model reads.
    """
    tokens = len(text.encode()) // _BYTES_PER_TOKEN + _SPECIAL_TOKENS
    return bucket_of(min(tokens, buckets[-1]), buckets)


def first_runs(
    graph: TextGraph, buckets: Sequence[int], max_batch_size: int, pad_id: int
) -> Iterator[tuple[int, list[FloatArray]]]:
    """Runs every bucket at its full width, narrow and wide, so that no caller pays for firsts.

    Args:
        graph: what to run.
        buckets: lengths in tokens.
        max_batch_size: most texts in one run.
        pad_id: any token.

    Yields:
        How many texts a run had, and what it gave.

    Raises:
        StartError: a run failed.
    """
    for bucket in reversed(buckets):
        for size in {1, max_batch_size}:
            ids = np.full((size, bucket), pad_id, np.int64)
            try:
                outputs = graph.run(ids, np.ones_like(ids))
            except Exception as error:  # the library's errors share no narrower base
                raise StartError(f"the model fails on {size} x {bucket} tokens: {error}") from error
            yield size, outputs


def read_config(version: Version, kind: type[T]) -> T:
    """The version's `config.json` as a typed structure.

    Raises:
        DamagedVersion: there is none, or it does not fit.
    """
    path = version.file("config.json")
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.DecodeError as error:
        raise DamagedVersion(f"{path} does not fit this release: {error}; train again") from error
