"""Finds training texts whose label is likely wrong, by confident learning (Northcutt et al. 2021).

Each text is judged by heads that never saw it nor any text of its document: five times they are
fitted on four fifths of the texts. The fine-tuned network would judge better and take five times as
long to train.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from cleanlab.filter import find_label_issues

from mesh_classifier.calibration import LABELS, Floats, probabilities
from mesh_classifier.training.data import Examples, to_items
from mesh_classifier.training.evaluate import fit_temperature
from mesh_classifier.training.heads import Sample, fit_heads
from mesh_classifier.training.network import apply_heads
from mesh_classifier.training.report.figures import LabelError
from mesh_pipelines.progress import progress_bar
from mesh_pipelines.splits import Part, folds
from meshkit.onnx import FloatArray

FILE = "label-errors.json"
"""Its name in a version."""
_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Suspects:
    """Training texts whose labels are likely wrong.

    Attributes:
        places: which texts, the most doubtful first; int64 [m].
        shares: out-of-fold probabilities of all texts, [n, labels].
    """

    places: npt.NDArray[np.int64]
    shares: Floats

    def kept(self) -> npt.NDArray[np.bool_]:
        """Which of all texts are not suspected; bool [n]."""
        kept = np.full(len(self.shares), fill_value=True)
        kept[self.places] = False
        return kept

    def listed(self, examples: Examples) -> list[LabelError]:
        """What is known of each suspect."""
        return [
            LabelError(
                source=examples.rated[place].source,
                id=examples.rated[place].id,
                text=examples.rated[place].text,
                label=LABELS[examples.labels[place]],
                suggested=LABELS[int(self.shares[place].argmax())],
                probability=float(self.shares[place, examples.labels[place]]),
                valence=float(examples.valences[place]),
                raters=len(examples.rated[place].ratings),
            )
            for place in self.places
        ]


def find(
    examples: Mapping[Part, Examples], embeddings: Mapping[Part, FloatArray], seed: int
) -> Suspects:
    """Finds the suspects among the training texts.

    Args:
        examples: training texts, and validation texts, which choose the heads' penalties and their
            temperature.
        embeddings: of both, by the encoder as it was published; float32 [n, width].
        seed: of the folds.
    """
    training, validation = examples[Part.TRAIN], examples[Part.VALIDATION]
    sample, chosen_by = (
        Sample(embeddings[part], examples[part].shares, examples[part].valences)
        for part in (Part.TRAIN, Part.VALIDATION)
    )
    fold = np.array(folds(to_items(training), seed, _FOLDS))
    shares = np.zeros((len(training), len(LABELS)))
    with progress_bar("look for label errors", _FOLDS, "folds") as bar:
        for index in range(_FOLDS):
            inside = fold == index
            heads, _ = fit_heads(sample.where(~inside), chosen_by)
            logits, _ = apply_heads(heads, torch.from_numpy(chosen_by.embeddings))
            temperature = fit_temperature(logits.numpy(), validation.labels)
            unseen, _ = apply_heads(heads, torch.from_numpy(sample.embeddings[inside]))
            shares[inside] = probabilities(unseen.numpy(), temperature)
            bar.update()
    places = find_label_issues(
        training.labels, shares, return_indices_ranked_by="self_confidence", n_jobs=1
    )
    return Suspects(np.asarray(places, dtype=np.int64), shares)
