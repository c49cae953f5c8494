"""One loaded version of the model: inputs in, embeddings out, on the caller's thread."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
import numpy as np

from mesh_embedder.inputs import Embedding, Input, TokenIds, TooLong
from meshkit.errors import StartError
from meshkit.onnx import FloatArray, TextGraph, TextTokenizer, Tokens, bucket_of, pad
from meshkit.store import DamagedVersion, Version
from meshkit.text_models import (
    Plan,
    buckets_up_to,
    first_runs,
    likely_bucket,
    read_config,
)

_log = logging.getLogger(__name__)

# The graph's output with its rank: FP32 [batch, dimensions].
OUTPUTS: Final = {"sentence_embedding": 2}
# A text's first and last token, and one of its own.
_LEAST_LENGTH: Final = 3

Count = Annotated[int, msgspec.Meta(ge=1)]
TokenId = Annotated[int, msgspec.Meta(ge=0)]


class Record(msgspec.Struct, frozen=True):
    """What serving needs of the record that training wrote.

    Attributes:
        base: what the model is called.
        dimensions: numbers that the graph gives of each text.
        allowed_dimensions: how many a request may ask for, the largest first. Fewer than the graph
            gives are its first ones: only of a model that was made for that (Matryoshka).
        default_precision: numeric precision of the graph.
        metrics: how well it agrees with the reference implementation.
    """

    base: str
    dimensions: Count
    allowed_dimensions: Annotated[tuple[Count, ...], msgspec.Meta(min_length=1)]
    default_precision: str
    metrics: dict[str, float]


class Config(msgspec.Struct, frozen=True):
    """`config.json`: how texts become inputs of the graph."""

    max_length: Annotated[int, msgspec.Meta(ge=_LEAST_LENGTH)]
    pad_id: TokenId
    start_id: TokenId
    end_id: TokenId


class Network:
    """The graph with its tokenizer. Several threads may use it at once."""

    def __init__(
        self, graph: TextGraph, tokenizer: TextTokenizer, config: Config, dimensions: int
    ) -> None:
        self._graph = graph
        self._tokenizer = tokenizer
        self._config = config
        self.dimensions = dimensions
        self._buckets = buckets_up_to(config.max_length)
        self.max_length = config.max_length
        self.vocabulary_size = tokenizer.vocabulary_size

    def bucket(self, each: Input) -> int:
        """The length bucket that an input falls into; of a text, likely."""
        if isinstance(each.content, str):
            bucket = likely_bucket(each.content, self._buckets)
        else:
            length = len(self._whole(each.content))
            bucket = bucket_of(min(length, self.max_length), self._buckets)
        return min(bucket, bucket_of(each.max_tokens, self._buckets))

    def embed(self, bucket: int, inputs: Sequence[Input]) -> list[Embedding | TooLong]:
        """Embeds inputs in one run; blocks.

        Args:
            bucket: the one that they share.
            inputs: at least one; texts have a character at least that is not white space, and ids
                are tokens that there are.

        Raises:
            FloatingPointError: the graph gave something that is no number, or nothing to scale.
        """
        rows = self._rows(inputs)
        vectors = iter(self._run([row for row in rows if isinstance(row, Tokens)]))
        return [
            row if isinstance(row, TooLong) else _embedding(next(vectors), each.dimensions, row)
            for each, row in zip(inputs, rows, strict=True)
        ]

    def warm_up(self, max_batch_size: int) -> None:
        """Runs every bucket once, narrow and wide.

        Raises:
            StartError: a run failed, or gave something of another shape.
        """
        runs = first_runs(self._graph, self._buckets, max_batch_size, self._config.pad_id)
        for size, (vectors,) in runs:
            if vectors.shape != (size, self.dimensions):
                raise StartError(
                    f"the model gives embeddings of shape {vectors.shape} for {size} texts, and "
                    f"its record says {self.dimensions} dimensions; make the version again"
                )

    def _rows(self, inputs: Sequence[Input]) -> list[Tokens | TooLong]:
        texts = [each.content for each in inputs if isinstance(each.content, str)]
        encoded = iter(self._tokenizer.encode(texts))
        return [
            self._fitted(
                each,
                next(encoded)
                if isinstance(each.content, str)
                else Tokens(self._whole(each.content), truncated=False),
            )
            for each in inputs
        ]

    def _fitted(self, each: Input, tokens: Tokens) -> Tokens | TooLong:
        """What counts of an input's tokens."""
        if len(tokens.ids) <= each.max_tokens and not tokens.truncated:
            return tokens
        if not each.truncate:
            return TooLong(self._count(each.content))
        return Tokens([*tokens.ids[: each.max_tokens - 1], self._config.end_id], truncated=True)

    def _count(self, content: str | TokenIds) -> int:
        if isinstance(content, str):
            return self._tokenizer.count(content)
        return len(self._whole(content))

    def _whole(self, ids: TokenIds) -> TokenIds:
        """A text's tokens with the special ones around them."""
        start, end = self._config.start_id, self._config.end_id
        if len(ids) > 1 and (ids[0], ids[-1]) == (start, end):
            return ids
        return [start, *ids, end]

    def _run(self, rows: Sequence[Tokens]) -> Sequence[FloatArray]:
        if not rows:
            return []
        (vectors,) = self._graph.run(*pad([row.ids for row in rows], self._config.pad_id))
        if not np.isfinite(vectors).all():
            raise FloatingPointError("the graph gave infinity or no number")
        return list(vectors)


def _embedding(vector: FloatArray, dimensions: int, tokens: Tokens) -> Embedding:
    values = vector[:dimensions].astype(np.float64)
    length = np.linalg.norm(values)
    if not length:
        raise FloatingPointError("the graph gave nothing but zeros")
    return Embedding((values / length).astype(np.float32), len(tokens.ids), tokens.truncated)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version ready to run, and how."""

    network: Network
    plan: Plan
    record: Record


def load(version: Version, max_batch_size: int, threads: int) -> Loaded:
    """Loads and warms a version; blocks for a second.

    Args:
        version: from the store.
        max_batch_size: most inputs in one run.
        threads: threads that runs keep busy.

    Raises:
        StartError: the version does not fit this release, or does not run.
    """
    record = version.record_as(Record)
    config = read_config(version, Config)
    _check(version, record)
    plan = Plan.of(max_batch_size, threads)
    network = Network(
        TextGraph(version.file("model.onnx"), OUTPUTS, plan.threads),
        TextTokenizer(version.file("tokenizer.json"), config.max_length),
        config,
        record.dimensions,
    )
    network.warm_up(plan.max_batch_size)
    _log.info(
        "loaded the model",
        extra={"version": version.name, "plan": repr(plan)},
    )
    return Loaded(network, plan, record)


def _check(version: Version, record: Record) -> None:
    name = f"{version.model}:{version.name}"
    if max(record.allowed_dimensions) > record.dimensions:
        raise DamagedVersion(
            f"{name} allows {max(record.allowed_dimensions)} dimensions and has "
            f"{record.dimensions}; make the version again"
        )
