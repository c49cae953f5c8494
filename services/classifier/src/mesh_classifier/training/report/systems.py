"""What a system answers to the test texts, and how good that is, with intervals."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mesh_classifier.calibration import LABELS, Floats, choose_labels, probabilities
from mesh_classifier.training.data import NEGATIVE, NEUTRAL, POSITIVE, Examples
from mesh_classifier.training.evaluate import choose_polar
from mesh_classifier.training.measure import Calibration
from mesh_classifier.training.report.figures import ALL, Advantage, Slice, Task
from mesh_pipelines import weighted
from mesh_pipelines.bootstrap import difference, drawings, estimate
from mesh_pipelines.statistics import BINS
from mesh_pipelines.weighted import Labels


@dataclass(frozen=True)
class System:
    """The answers of a system to some texts, by whatever rule it has.

    Attributes:
        shares: probabilities of the labels, [n, 3].
        labels: the labels it answers, int64 [n].
        polarity: how positive it finds the text if it is not neutral; in any unit, [n].
        polar: the label it answers where neutral is none, int64 [n].
    """

    shares: Floats
    labels: Labels
    polarity: Floats
    polar: Labels

    @classmethod
    def calibrated(cls, logits: npt.NDArray[np.floating], calibration: Calibration) -> "System":
        """A system of logits, [n, 3]: the shipped rule of probabilities and thresholds."""
        shares = probabilities(logits, calibration.temperature)
        negative, positive = shares[:, NEGATIVE], shares[:, POSITIVE]
        return cls(
            shares=shares,
            labels=choose_labels(shares, calibration.thresholds).astype(np.int64),
            polarity=positive / (negative + positive),
            polar=choose_polar(shares, calibration.thresholds),
        )


class Judge:
    """Judges systems on the slices of the same texts, by the same drawings."""

    def __init__(self, examples: Examples, seed: int, count: int) -> None:
        self._examples = examples
        names = np.unique(examples.sources)
        self._slices = {
            ALL: np.full(len(examples), fill_value=True),
            **{str(name): examples.sources == name for name in names},
        }
        # Each slice draws among its own documents, so that its size is the same in every drawing.
        self._drawings = {
            name: drawings(examples.documents[chosen], count, seed)
            for name, chosen in self._slices.items()
        }

    @property
    def slices(self) -> Mapping[str, npt.NDArray[np.bool_]]:
        """Which texts each slice has."""
        return self._slices

    def judge(self, system: System) -> dict[str, Slice]:
        """How good a system is on each slice."""
        return {name: self._view(name, system).slice() for name in self._slices}

    def compare(self, system: System, other: System) -> dict[str, Advantage]:
        """How much better a system is than another one, on each slice."""
        found = {}
        for name in self._slices:
            ours, theirs = self._view(name, system), self._view(name, other)
            found[name] = Advantage(
                accuracy=difference(ours.accuracy, theirs.accuracy),
                macro_f1=difference(ours.macro_f1, theirs.macro_f1),
                binary_macro_f1=difference(ours.binary_macro_f1, theirs.binary_macro_f1),
            )
        return found

    def _view(self, name: str, system: System) -> "_View":
        chosen = self._slices[name]
        return _View(
            truth=self._examples.labels[chosen],
            system=System(
                system.shares[chosen],
                system.labels[chosen],
                system.polarity[chosen],
                system.polar[chosen],
            ),
            weights=self._drawings[name],
        )


@dataclass(frozen=True)
class _View:
    """One system on one slice. The figures have a row for each drawing."""

    truth: Labels
    system: System
    weights: Floats

    @cached_property
    def accuracy(self) -> Floats:
        return weighted.accuracy(self.truth, self.system.labels, self.weights)

    @cached_property
    def macro_f1(self) -> Floats:
        return weighted.macro_f1(self.truth, self.system.labels, len(LABELS), self.weights)

    @cached_property
    def binary_weights(self) -> Floats:
        """Those of the texts that are not neutral; the others count nothing."""
        return np.where(self.truth != NEUTRAL, self.weights, 0.0)

    @cached_property
    def binary_macro_f1(self) -> Floats:
        return weighted.macro_f1(self.truth, self.system.polar, len(LABELS), self.binary_weights)

    def slice(self) -> Slice:
        system, truth = self.system, self.truth
        return Slice(
            three_labels=self._three_labels(),
            binary=Task(
                texts=int(np.sum(truth != NEUTRAL)),
                accuracy=estimate(weighted.accuracy(truth, system.polar, self.binary_weights)),
                macro_f1=estimate(self.binary_macro_f1),
                roc_auc=estimate(
                    weighted.roc_auc(truth == POSITIVE, system.polarity, self.binary_weights)
                ),
                pr_auc=estimate(
                    weighted.average_precision(
                        truth == POSITIVE, system.polarity, self.binary_weights
                    )
                ),
            ),
            calibration_error=estimate(
                weighted.calibration_error(truth, system.shares, BINS, self.weights)
            ),
        )

    def _three_labels(self) -> Task:
        areas = [
            [
                area(self.truth == label, self.system.shares[:, label], self.weights)
                for label in range(len(LABELS))
            ]
            for area in (weighted.roc_auc, weighted.average_precision)
        ]
        roc, pr = (estimate(np.mean(each, axis=0)) for each in areas)
        return Task(
            texts=len(self.truth),
            accuracy=estimate(self.accuracy),
            macro_f1=estimate(self.macro_f1),
            roc_auc=roc,
            pr_auc=pr,
        )
