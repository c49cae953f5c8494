"""What it does to leave suspected labels out of training: measured with heads alone, in seconds."""

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import torch

from mesh_classifier.training.data import Examples
from mesh_classifier.training.heads import Sample, fit_heads
from mesh_classifier.training.label_errors import Suspects
from mesh_classifier.training.measure import Calibration
from mesh_classifier.training.network import apply_heads
from mesh_classifier.training.report.figures import LabelErrors
from mesh_classifier.training.report.systems import Judge, System
from mesh_pipelines.splits import Part
from meshkit.onnx import FloatArray

_WORST = 30

Bools = npt.NDArray[np.bool_]


def describe(
    suspects: Suspects,
    examples: Mapping[Part, Examples],
    embeddings: Mapping[Part, FloatArray],
    judge: Judge,
) -> LabelErrors:
    """The suspects, and what leaving them out of training gains on the test part.

    Args:
        suspects: among the training texts.
        examples: the parts, with the suspects still in.
        embeddings: of their texts, by the encoder as it was published.
        judge: of the test part.
    """

    def heads_alone(kept: Bools) -> System:
        samples = {
            part: Sample(embeddings[part], examples[part].shares, examples[part].valences)
            for part in (Part.TRAIN, Part.VALIDATION)
        }
        heads, _ = fit_heads(samples[Part.TRAIN].where(kept), samples[Part.VALIDATION])
        validation, test = (
            apply_heads(heads, torch.from_numpy(embeddings[part]))[0].numpy()
            for part in (Part.VALIDATION, Part.TEST)
        )
        calibration = Calibration.fit(validation, examples[Part.VALIDATION].labels)
        return System.calibrated(test, calibration)

    listed = suspects.listed(examples[Part.TRAIN])
    kept = suspects.kept()
    return LabelErrors(
        texts=len(kept),
        found=len(listed),
        by_source=_tally(each.source for each in listed),
        by_label=_tally(each.label for each in listed),
        worst=listed[:_WORST],
        effect=judge.compare(heads_alone(kept), heads_alone(np.ones_like(kept))),
    )


def _tally(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())
