"""The parts of a report that look closer at one system: curves, calibration, lengths of texts."""

import numpy as np

from mesh_classifier.calibration import LABELS, probabilities
from mesh_classifier.training.data import Examples
from mesh_classifier.training.measure import Measured
from mesh_classifier.training.report.figures import Bins, Calibration, Curve, Length
from mesh_classifier.training.report.systems import System
from mesh_pipelines import weighted
from mesh_pipelines.bootstrap import Estimate, drawings, estimate
from mesh_pipelines.statistics import BINS, precision_recall_curve, reliability
from mesh_pipelines.weighted import Floats

DRAWINGS = 2000
# Words of the texts of one group, from these on.
_LENGTHS = (1, 6, 11, 21, 31)
# Points of a curve; more can't be seen.
_POINTS = 200


def curves(test: Examples, system: System) -> dict[str, Curve]:
    """The precision-recall curve of each label against the others."""
    found = {}
    for label, name in enumerate(LABELS):
        positive, scores = test.labels == label, system.shares[:, label]
        curve = precision_recall_curve(positive, scores)
        places = np.unique(np.linspace(0, len(curve.recall) - 1, _POINTS).astype(np.int64))
        area = weighted.average_precision(positive, scores, weighted.once(len(test)))
        found[name] = Curve(
            curve.precision[places].tolist(), curve.recall[places].tolist(), float(area[0])
        )
    return found


def calibration(test: Examples, measured: Measured, seed: int) -> Calibration:
    """How well probabilities fit, before and after they were divided by the temperature."""
    logits = measured.answers[measured.default_precision].logits
    weights = drawings(test.documents, DRAWINGS, seed)

    def error(shares: Floats) -> Estimate:
        return estimate(weighted.calibration_error(test.labels, shares, BINS, weights))

    def bins(shares: Floats) -> Bins:
        diagram = reliability(test.labels, shares)
        return Bins(diagram.counts.tolist(), diagram.confidence.tolist(), diagram.accuracy.tolist())

    fitted = measured.calibration
    before, after = (probabilities(logits, each) for each in (1.0, fitted.temperature))
    return Calibration(
        temperature=fitted.temperature,
        thresholds=fitted.thresholds,
        error_before=error(before),
        error_after=error(after),
        before=bins(before),
        after=bins(after),
    )


def lengths(test: Examples, system: System, seed: int) -> list[Length]:
    """Accuracy by the number of words."""
    words = np.array([len(text.split()) for text in test.texts])
    found = []
    for least, following in zip(_LENGTHS, (*_LENGTHS[1:], None), strict=True):
        chosen = (words >= least) & (words < (following or np.inf))
        if chosen.any():
            weights = drawings(test.documents[chosen], DRAWINGS, seed)
            right = weighted.accuracy(test.labels[chosen], system.labels[chosen], weights)
            most = following - 1 if following else None
            found.append(Length(least, most, int(chosen.sum()), estimate(right)))
    return found
