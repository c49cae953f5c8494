"""What the classifier learns from: the rated texts with their targets, split into parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mesh_classifier.calibration import LABELS
from mesh_pipelines.rated_texts import RatedText, read_rated_texts
from mesh_pipelines.splits import Item, Part, split

# Where a mean valence stops being neutral; the bounds themselves are not neutral.
_NEGATIVE_BELOW = -0.5
_POSITIVE_FROM = 0.5


@dataclass(frozen=True, slots=True)
class Examples:
    """Labelled texts, in any order; the arrays have one row for each text."""

    texts: list[str]
    sources: npt.NDArray[np.str_]
    """The source of each text, such as `films`."""
    shares: npt.NDArray[np.float64]
    """Soft targets: the shares of raters below, at and above zero; shape [n, 3]."""
    valences: npt.NDArray[np.float64]
    """Mean valence over the raters, in [-4, 4]."""
    labels: npt.NDArray[np.int64]
    """Hard labels, as indices of LABELS."""

    def __len__(self) -> int:
        return len(self.texts)

    def select(self, indices: npt.NDArray[np.int64]) -> "Examples":
        """The examples at these places."""
        return Examples(
            [self.texts[index] for index in indices],
            self.sources[indices],
            self.shares[indices],
            self.valences[indices],
            self.labels[indices],
        )


def load_examples(archive: Path, seed: int) -> dict[Part, Examples]:
    """Reads the rated texts and splits them by document, in even shares of source and label."""
    rated = read_rated_texts(archive)
    examples = to_examples(rated)
    items = [
        Item(text.text, text.document, f"{text.source} {LABELS[label]}")
        for text, label in zip(rated, examples.labels, strict=True)
    ]
    parts = np.array(split(items, seed))
    return {part: examples.select(np.flatnonzero(parts == part)) for part in Part}


def to_examples(rated: Sequence[RatedText]) -> Examples:
    """Derives the targets of texts from their raters."""
    return Examples(
        [text.text for text in rated],
        np.array([text.source for text in rated]),
        np.array([text.shares for text in rated]),
        np.array([text.valence for text in rated]),
        np.array([hard_label(text.valence) for text in rated], dtype=np.int64),
    )


def hard_label(valence: float) -> int:
    """The index of the label for a mean valence."""
    if valence <= _NEGATIVE_BELOW:
        return 0
    return 2 if valence >= _POSITIVE_FROM else 1
