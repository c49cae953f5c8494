"""One loaded version of the model: texts in, classifications out, on the caller's thread."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, get_args

import msgspec
import numpy as np

from mesh_classifier.answers import Classification
from mesh_classifier.calibration import LABELS, MAX_VALENCE, choose_labels, probabilities
from meshkit.errors import StartError
from meshkit.onnx import TextGraph, TextTokenizer, cuda_available, pad
from meshkit.store import DamagedVersion, Version
from meshkit.text_models import (
    Plan,
    buckets_up_to,
    first_runs,
    likely_bucket,
    read_config,
)

_log = logging.getLogger(__name__)

Precision = Literal["fp32", "int8"]
# The graph's outputs with their ranks: FP32 [batch, labels] and FP32 [batch].
_OUTPUTS: Final = {"logits": 2, "valence": 1}
# A text's two special tokens and one of its own.
_LEAST_LENGTH: Final = 3

Positive = Annotated[float, msgspec.Meta(gt=0)]


class _Invariance(msgspec.Struct, frozen=True):
    """In how wide a run the answers of a graph were found not to depend on their neighbours."""

    max_batch_size: Annotated[int, msgspec.Meta(ge=1)]


class Record(msgspec.Struct, frozen=True):
    """What serving needs of the record that training wrote."""

    labels: tuple[str, ...]
    temperature: Positive
    thresholds: dict[str, Positive]
    default_precision: Precision
    metrics_by_precision: dict[Precision, dict[str, float]]
    batch_invariance: dict[Precision, _Invariance]


class _Config(msgspec.Struct, frozen=True):
    """`config.json`: how texts become inputs of the graph."""

    max_length: Annotated[int, msgspec.Meta(ge=_LEAST_LENGTH)]
    pad_id: int


class Network:
    """The graph with its tokenizer and calibration. Several threads may use it at once."""

    def __init__(
        self,
        graph: TextGraph,
        tokenizer: TextTokenizer,
        record: Record,
        *,
        max_length: int,
        pad_id: int,
    ) -> None:
        self._graph = graph
        self._tokenizer = tokenizer
        self._record = record
        self._pad_id = pad_id
        self.max_length = max_length
        self.buckets = buckets_up_to(max_length)

    def bucket(self, text: str) -> int:
        """The length bucket that a text likely falls into."""
        return likely_bucket(text, self.buckets)

    def classify(self, bucket: int, texts: Sequence[str]) -> list[Classification]:
        """Classifies texts in one run; blocks.

        Args:
            bucket: the one that they share.
            texts: at least one, each with at least one character that is not white space.

        Raises:
            FloatingPointError: the graph gave something that is no number.
        """
        rows = self._tokenizer.encode(texts)
        logits, valences = self._graph.run(*pad([row.ids for row in rows], self._pad_id))
        if not (np.isfinite(logits).all() and np.isfinite(valences).all()):
            raise FloatingPointError("the graph gave infinity or no number")
        shares = probabilities(logits, self._record.temperature)
        chosen = choose_labels(shares, self._record.thresholds)
        strengths = np.clip(valences.astype(np.float64), -MAX_VALENCE, MAX_VALENCE)
        return [
            Classification(LABELS[label], tuple(share), strength, row.truncated)
            for label, share, strength, row in zip(
                chosen.tolist(), shares.tolist(), strengths.tolist(), rows, strict=True
            )
        ]

    def warm_up(self, max_batch_size: int) -> None:
        """Runs every bucket at its full width, narrow and wide, so that no caller pays for firsts.

        Raises:
            StartError: a run failed.
        """
        runs = first_runs(self._graph, self.buckets, max_batch_size, self._pad_id)
        for size, (logits, valences) in runs:
            if logits.shape != (size, len(LABELS)) or valences.shape != (size,):
                raise StartError(
                    f"the model gives logits of shape {logits.shape} and valences of shape "
                    f"{valences.shape} for {size} texts; train again with this release"
                )


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version ready to run, and how."""

    network: Network
    plan: Plan
    precision: Precision
    metrics: dict[str, float]


def load(
    version: Version, precision: Precision | Literal["auto"], max_batch_size: int, threads: int
) -> Loaded:
    """Loads and warms a version; blocks for seconds.

    Args:
        version: from the store.
        precision: the graph to load.
        max_batch_size: most texts in one run; the version may allow fewer.
        threads: threads that runs keep busy.

    Raises:
        StartError: the version does not fit this release, or does not run.
    """
    record = version.record_as(Record)
    config = read_config(version, _Config)
    _check(version, record)
    if precision == "auto":
        # CUDA has no kernels for the 8-bit operators: they would run on the CPU, with copies.
        precision = "fp32" if cuda_available() else record.default_precision
    allowed = record.batch_invariance[precision].max_batch_size
    plan = Plan.of(min(max_batch_size, allowed), threads)
    network = Network(
        TextGraph(version.file(f"model.{precision}.onnx"), _OUTPUTS, plan.threads),
        TextTokenizer(version.file("tokenizer.json"), config.max_length),
        record,
        max_length=config.max_length,
        pad_id=config.pad_id,
    )
    network.warm_up(plan.max_batch_size)
    _log.info(
        "loaded the model",
        extra={"version": version.name, "precision": precision, "plan": repr(plan)},
    )
    return Loaded(network, plan, precision, record.metrics_by_precision[precision])


def _check(version: Version, record: Record) -> None:
    name = f"{version.model}:{version.name}"
    if record.labels != LABELS or set(record.thresholds) != set(LABELS):
        raise DamagedVersion(
            f"{name} has the labels {record.labels} and thresholds for {tuple(record.thresholds)}; "
            f"this release wants {LABELS} for both; train again with it"
        )
    for precision in get_args(Precision):
        if not {precision} <= record.metrics_by_precision.keys() & record.batch_invariance.keys():
            raise DamagedVersion(f"{name} was not measured in {precision}; train again")
