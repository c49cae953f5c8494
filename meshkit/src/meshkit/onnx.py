"""Text models on ONNX Runtime: tokenizer, length buckets, padding, sessions.

Imports numpy, ONNX Runtime and the tokenizers, so it belongs behind `meshkit.run`, which sizes
their thread pools first.
"""

import logging
import os
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from meshkit.errors import StartError

# ONNX Runtime reports its use to its makers where nothing says otherwise when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

Int64Array: TypeAlias = npt.NDArray[np.int64]
FloatArray: TypeAlias = npt.NDArray[np.float32]

INPUT_IDS: Final = "input_ids"
ATTENTION_MASK: Final = "attention_mask"

# A text's beginning of this many characters for each token that the model reads nearly always has
# more tokens than it reads (English has some five characters a token).
_CHARACTERS_PER_TOKEN: Final = 16

_CUDA: Final = "CUDAExecutionProvider"
_log = logging.getLogger(__name__)
_CPU: Final = "CPUExecutionProvider"

_NOT_FUSED: Final = "optimization.disable_specified_optimizers"
_SLOW_ON_CPUS: Final = "SkipLayerNormFusion;BiasGeluFusion"
"""Each makes two operators one whose kernel for CPUs takes twice or four times as long as they."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text as the model reads it.

    Attributes:
        ids: token ids, the special ones included, at most as many as the model reads.
        truncated: whether the text had more.
    """

    ids: Sequence[int]
    truncated: bool


class TextTokenizer:
    """The Rust tokenizer of a model. Safe to use from several threads, which run side by side.

    Unless `TOKENIZERS_PARALLELISM` says otherwise it has no threads of its own, but where there is
    a GPU: on a CPU they would share the graph's, and each batch would wait for them to be woken.
    """

    def __init__(self, path: Path, max_length: int) -> None:
        """Reads a `tokenizer.json`.

        Args:
            path: the file.
            max_length: most tokens of a text, the special ones included.

        Raises:
            StartError: the file holds no tokenizer.
        """
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            raise StartError(f"{path} holds no tokenizer ({error}); train again") from error
        # The library reads it with every batch.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", str(cuda_available()).lower())
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)
        self._enough = max_length * _CHARACTERS_PER_TOKEN

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenizes texts; blocks, without holding Python's lock.

        A long text costs no more than its beginning: where that has more tokens than the model
        reads, the rest can't matter.
        """
        beginnings = [self._beginning(text) for text in texts]
        tokens = self._encode(beginnings)
        for place, (text, beginning) in enumerate(zip(texts, beginnings, strict=True)):
            if len(beginning) < len(text) and not tokens[place].truncated:
                (tokens[place],) = self._encode([text])
        return tokens

    def count(self, text: str) -> int:
        """How many tokens a text has, the special ones included, however many the model reads."""
        encoding = self._tokenizer.encode(text)
        special = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        rest = sum(len(part.ids) - special for part in encoding.overflowing)
        return len(encoding.ids) + rest

    @property
    def vocabulary_size(self) -> int:
        """How many tokens there are; ids are less than this."""
        return int(self._tokenizer.get_vocab_size())

    def _beginning(self, text: str) -> str:
        """A text up to white space, so that no word is cut; all of a short one, or of one word."""
        if len(text) <= self._enough:
            return text
        end = max(text.rfind(space, 0, self._enough) for space in " \n")
        return text[:end] if end > 0 else text

    def _encode(self, texts: list[str]) -> list[Tokens]:
        encodings = self._tokenizer.encode_batch_fast(texts)
        # What a text has beyond its first `max_length` tokens stands in further encodings.
        return [Tokens(encoding.ids, bool(encoding.overflowing)) for encoding in encodings]


def bucket_of(length: int, buckets: Sequence[int]) -> int:
    """The least of the ascending `buckets` that holds `length` tokens.

    Texts of one bucket share a batch: padding a short text to a long neighbour's length would cost
    as much as another long one.

    Raises:
        ValueError: no bucket is long enough.
    """
    place = bisect_left(buckets, length)
    if place == len(buckets):
        raise ValueError(f"{length} tokens fit none of the buckets {list(buckets)}")
    return buckets[place]


def pad(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Int64Array, Int64Array]:
    """Token ids of unequal length as a rectangle, as wide as the longest.

    Returns:
        `input_ids` and `attention_mask` (1 at tokens, 0 at padding), both int64 [rows, longest].
    """
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(mask.shape, pad_id, np.int64)
    ids[mask] = np.concatenate([np.asarray(row, np.int64) for row in rows])
    return ids, mask.astype(np.int64)


def cuda_available() -> bool:
    """Whether this build of ONNX Runtime can use a GPU of this machine."""
    return _CUDA in onnxruntime.get_available_providers()


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """How a graph is run.

    Args:
        threads: threads of one run. With 1 a run stays on its caller's thread, so that several
            callers run side by side without a pool that they would fight over.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # The graph is one chain of operators; there is nothing to run beside another.
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # A memory plan is kept for every shape seen, and texts come in every length.
    options.enable_mem_pattern = False
    # Idle threads would spin, and use up the quota that the event loop needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not cuda_available():
        options.add_session_config_entry(_NOT_FUSED, _SLOW_ON_CPUS)
    return options


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """Opens a graph, on CUDA where this build and machine have it, else on the CPU.

    Args:
        path: the `.onnx` file.
        threads: see `session_options`.

    Raises:
        StartError: the file holds no graph that this ONNX Runtime can run.
    """
    try:
        session = onnxruntime.InferenceSession(
            path, session_options(threads), providers=_providers()
        )
    except Exception as error:  # the library's errors share no narrower base
        raise StartError(f"{path} can't be run ({error}); train again") from error
    if cuda_available() and session.get_providers()[0] != _CUDA:
        _log.warning(
            "this build of ONNX Runtime could use a GPU, and there is none that it can use: the "
            "graph runs on the CPU; check the driver and the CUDA libraries, or take the CPU build"
        )
    return session


def _providers() -> list[Any]:
    """Where a graph may run, the best first."""
    if not cuda_available():
        return [_CPU]
    # Finds the CUDA libraries that were installed as packages of Python.
    onnxruntime.preload_dlls()
    options = {
        # Growing by powers of two would take up to twice the memory of the largest batch.
        "arena_extend_strategy": "kSameAsRequested",
        # With it an answer differs by the rows beside it, and from the CPU's, some hundred times
        # as much as without.
        "use_tf32": "0",
    }
    return [(_CUDA, options), _CPU]


class TextGraph:
    """A graph from token ids to float outputs.

    Inputs: `input_ids` and `attention_mask`, INT64 [batch, length]. Outputs: the ones asked for,
    FP32, the batch first.
    """

    def __init__(self, path: Path, outputs: Mapping[str, int], threads: int) -> None:
        """Opens the graph and checks its signature.

        Args:
            path: the `.onnx` file.
            outputs: the outputs to compute, each with its number of dimensions.
            threads: see `session_options`.

        Raises:
            StartError: the graph can't be run or has another signature.
        """
        self._session = open_session(path, threads)
        self._outputs = list(outputs)
        wanted = {INPUT_IDS: ("tensor(int64)", 2), ATTENTION_MASK: ("tensor(int64)", 2)}
        _check_signature(path, "inputs", self._session.get_inputs(), wanted)
        wanted = {name: ("tensor(float)", rank) for name, rank in outputs.items()}
        _check_signature(path, "outputs", self._session.get_outputs(), wanted)

    @property
    def provider(self) -> str:
        """Where the graph runs, such as `CPUExecutionProvider`."""
        return str(self._session.get_providers()[0])

    def run(self, input_ids: Int64Array, attention_mask: Int64Array) -> list[FloatArray]:
        """Computes the outputs of a batch, in the order they were asked for.

        Blocks, without holding Python's lock; several threads may run at once.

        Args:
            input_ids: int64 [batch, length].
            attention_mask: int64 [batch, length], 1 at tokens and 0 at padding.
        """
        feeds = {INPUT_IDS: input_ids, ATTENTION_MASK: attention_mask}
        results: list[FloatArray] = self._session.run(self._outputs, feeds)
        return results


def _check_signature(
    path: Path, what: str, nodes: Sequence[Any], wanted: Mapping[str, tuple[str, int]]
) -> None:
    has = {node.name: (node.type, len(node.shape)) for node in nodes}
    exact = what == "inputs"  # another input would stay unset; another output does no harm
    if any(has.get(name) != kind for name, kind in wanted.items()) or (exact and has != wanted):
        raise StartError(
            f"{path} has the {what} {_shown(has)} and this release wants {_shown(wanted)}; train "
            "again with this release"
        )


def _shown(signature: Mapping[str, tuple[str, int]]) -> str:
    return ", ".join(f"{name} {kind} of rank {rank}" for name, (kind, rank) in signature.items())
