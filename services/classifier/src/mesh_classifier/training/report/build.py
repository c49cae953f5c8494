"""Measures everything that a report says of a version."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mesh_classifier.calibration import LABELS
from mesh_classifier.training.data import Examples
from mesh_classifier.training.encoding import tokenize
from mesh_classifier.training.label_errors import Suspects
from mesh_classifier.training.measure import Measured
from mesh_classifier.training.report import baselines, details, effect, raters, speed
from mesh_classifier.training.report.figures import Epoch, Form, Report
from mesh_classifier.training.report.goals import goals
from mesh_classifier.training.report.systems import Judge, System
from mesh_pipelines.machine import processor
from mesh_pipelines.splits import Part
from mesh_pipelines.statistics import confusion
from meshkit.onnx import FloatArray, TextTokenizer

_SPEED_TEXTS = 320


@dataclass(frozen=True, slots=True)
class Subject:
    """The version that is reported on, and what it was made from."""

    data: str
    examples: Mapping[Part, Examples]
    """What it was made from."""
    doubted: Mapping[Part, Examples]
    """The same with the suspects still in."""
    suspects: Suspects
    """Among the training texts of `doubted`."""
    embeddings: Mapping[Part, FloatArray]
    """Of the texts of `doubted`, by the encoder as it was published."""
    measured: Measured
    graphs: Mapping[str, Path]
    tokenizer: TextTokenizer
    epochs: Sequence[Epoch]
    seed: int


def build(subject: Subject) -> Report:
    """Measures a version; takes minutes."""
    examples, measured, seed = subject.examples, subject.measured, subject.seed
    test = examples[Part.TEST]
    judge = Judge(test, seed, details.DRAWINGS)
    systems = {
        precision: System.calibrated(outputs.logits, measured.calibration)
        for precision, outputs in measured.answers.items()
    }
    shipped = systems[measured.default_precision]
    others = {
        "VADER": baselines.vader(examples[Part.VALIDATION], test),
        "TF-IDF": baselines.tf_idf(examples[Part.TRAIN], examples[Part.VALIDATION], test),
    }
    slices = judge.judge(shipped)
    rivals = {name: judge.judge(other) for name, other in others.items()}
    advantages = {name: judge.compare(shipped, other) for name, other in others.items()}
    return Report(
        data=subject.data,
        parts={str(part): _counts(each) for part, each in examples.items()},
        epochs=list(subject.epochs),
        slices=slices,
        baselines=rivals,
        advantages=advantages,
        confusion=confusion(test.labels, shipped.labels, len(LABELS)).tolist(),
        curves=details.curves(test, shipped),
        calibration=details.calibration(test, measured, seed),
        lengths=details.lengths(test, shipped, seed),
        raters={
            name: raters.describe(test.where(chosen), seed) for name, chosen in judge.slices.items()
        },
        label_errors=effect.describe(subject.suspects, subject.doubted, subject.embeddings, judge),
        default_precision=measured.default_precision,
        forms=_forms(subject, judge, systems),
        processor=processor(),
        goals=goals(slices, rivals, advantages, measured),
    )


def _counts(examples: Examples) -> dict[str, dict[str, int]]:
    return {
        str(source): {
            name: int(np.sum((examples.sources == source) & (examples.labels == label)))
            for label, name in enumerate(LABELS)
        }
        for source in np.unique(examples.sources)
    }


def _forms(subject: Subject, judge: Judge, systems: Mapping[str, System]) -> dict[str, Form]:
    test = subject.examples[Part.TEST]
    spread = np.linspace(0, len(test) - 1, min(_SPEED_TEXTS, len(test))).astype(np.int64)
    speeds = speed.compare(subject.graphs, tokenize(subject.tokenizer, test.select(spread).texts))
    return {
        precision: Form(
            bytes=subject.graphs[precision].stat().st_size,
            slices=judge.judge(system),
            flipped_share=subject.measured.invariance[precision]["flipped_share"],
            median_ms_alone=speeds[precision].median_ms_alone,
            texts_per_cpu_second=speeds[precision].texts_per_cpu_second,
        )
        for precision, system in systems.items()
    }
