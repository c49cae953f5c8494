"""The figures of a report, as `report.json` of a version holds them.

Slices are `all` and the sources. Estimates carry 95% intervals from drawings of whole documents.
"""

from pathlib import Path
from typing import Any, Final

import msgspec

from mesh_pipelines.bootstrap import Difference, Estimate

FILE: Final = "report.json"
"""Its name in a version."""
ALL: Final = "all"
"""The slice of all texts."""


class Task(msgspec.Struct, frozen=True):
    """How good a system is at one task, on one slice."""

    texts: int
    accuracy: Estimate
    macro_f1: Estimate
    roc_auc: Estimate
    """Macro over the labels, each against the others; of the positive label in the binary task."""
    pr_auc: Estimate
    """The same, by average precision."""


class Slice(msgspec.Struct, frozen=True):
    """How good a system is on one slice."""

    three_labels: Task
    binary: Task
    """Without the texts that are neutral by their raters; the label neutral is not answered."""
    calibration_error: Estimate


class Advantage(msgspec.Struct, frozen=True):
    """How much better the version is than a baseline, on the same drawings."""

    accuracy: Difference
    macro_f1: Difference
    binary_macro_f1: Difference


class Curve(msgspec.Struct, frozen=True):
    """A precision-recall curve of one label against the others."""

    precision: list[float]
    recall: list[float]
    area: float


class Bins(msgspec.Struct, frozen=True):
    """A reliability diagram."""

    counts: list[int]
    confidence: list[float]
    accuracy: list[float]


class Calibration(msgspec.Struct, frozen=True):
    """What temperature and thresholds did."""

    temperature: float
    thresholds: dict[str, float]
    error_before: Estimate
    error_after: Estimate
    before: Bins
    after: Bins


class Length(msgspec.Struct, frozen=True):
    """The texts of some lengths, in words."""

    least: int
    most: int | None
    texts: int
    accuracy: Estimate


class Raters(msgspec.Struct, frozen=True):
    """How far the raters of a slice agree: the ceiling of what can be learnt from them."""

    texts: int
    raters: int
    """Ratings in all."""
    pairwise_agreement: float
    """How likely two raters of one text give it the same label."""
    kappa: float
    """The same beyond chance: Fleiss' kappa for unequal numbers of raters."""
    rater_accuracy: float
    """How often one rater gives the label that the mean of the others gives."""
    panel_accuracy: float
    """How often the mean of a random half of the raters gives the label of the other half."""
    panel_macro_f1: float


class LabelErrors(msgspec.Struct, frozen=True):
    """Labels of training texts that confident learning holds for wrong."""

    texts: int
    """Training texts that were looked through."""
    found: int
    by_source: dict[str, int]
    by_label: dict[str, int]
    worst: list["LabelError"]
    """The most doubtful of them; the version's `label-errors.json` has all."""
    effect: dict[str, Advantage]
    """How much better heads are, by slice of the test part, when trained without them."""


class LabelError(msgspec.Struct, frozen=True):
    """One label that is likely wrong."""

    source: str
    id: str
    text: str
    label: str
    suggested: str
    probability: float
    """Of the given label, by a model that never saw the text."""
    valence: float
    raters: int


class Form(msgspec.Struct, frozen=True):
    """What a precision costs and gives."""

    bytes: int
    slices: dict[str, Slice]
    flipped_share: float
    """Labels that differ between a text alone and one in company."""
    median_ms_alone: float
    """A text alone, on one thread."""
    texts_per_cpu_second: float
    """In runs as wide as they are served, on one thread."""


class Goal(msgspec.Struct, frozen=True):
    """A figure that was wanted before it was measured."""

    name: str
    wanted: str
    measured: str
    met: bool


class Epoch(msgspec.Struct, frozen=True):
    """The losses of one epoch."""

    training_loss: float
    """The mean over the steps of the epoch, dropout included."""
    validation_loss: float
    """Cross-entropy of the labels after temperature scaling."""


class Report(msgspec.Struct, frozen=True):
    """Everything that was measured of a version."""

    data: str
    """What it was trained on: one of `recipe.DATA`."""
    parts: dict[str, dict[str, dict[str, int]]]
    """Texts by part, source and label."""
    epochs: list[Epoch]
    slices: dict[str, Slice]
    """Of the default precision."""
    baselines: dict[str, dict[str, Slice]]
    advantages: dict[str, dict[str, Advantage]]
    """By baseline and slice."""
    confusion: list[list[int]]
    """Of all test texts: rows by the raters, columns as answered."""
    curves: dict[str, Curve]
    calibration: Calibration
    lengths: list[Length]
    raters: dict[str, Raters]
    """Of the test part."""
    label_errors: LabelErrors
    default_precision: str
    forms: dict[str, Form]
    processor: str
    """What the speeds were measured on."""
    goals: list[Goal]


def write(report: Report, path: Path) -> None:
    """Writes a report as JSON, with six digits; figures that are undefined are null."""
    content = _rounded(msgspec.to_builtins(report))
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")


def read(path: Path) -> Report:
    """Reads what `write` wrote.

    Raises:
        msgspec.DecodeError: it is no report of this release.
    """
    return msgspec.json.decode(path.read_bytes(), type=Report)


def _rounded(content: Any) -> Any:
    """More digits than anybody reads would make half of the file."""
    if isinstance(content, float):
        return float(f"{content:.6g}")
    if isinstance(content, list):
        return [_rounded(each) for each in content]
    if isinstance(content, dict):
        return {key: _rounded(value) for key, value in content.items()}
    return content
