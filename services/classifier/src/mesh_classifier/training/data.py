"""What the classifier learns from: the rated texts with their targets, split into parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from mesh_classifier.calibration import LABELS
from mesh_pipelines.rated_texts import RatedText, read_rated_texts
from mesh_pipelines.splits import Item, Part, split

# Where a mean valence stops being neutral; the bounds themselves are not neutral.
_NEGATIVE_BELOW = -0.5
_POSITIVE_FROM = 0.5
NEGATIVE, NEUTRAL, POSITIVE = range(len(LABELS))


@dataclass(frozen=True, slots=True)
class Examples:
    """Labelled texts, in any order; the arrays have one row for each text."""

    rated: list[RatedText]
    sources: npt.NDArray[np.str_]
    """The source of each text, such as `films`."""
    shares: npt.NDArray[np.float64]
    """Soft targets: the shares of raters below, at and above zero; shape [n, 3]."""
    valences: npt.NDArray[np.float64]
    """Mean valence over the raters, in [-4, 4]."""
    labels: npt.NDArray[np.int64]
    """Hard labels, as indices of LABELS."""

    @classmethod
    def of(cls, rated: Sequence[RatedText]) -> Self:
        """Derives the targets of texts from their raters."""
        return cls(
            list(rated),
            np.array([text.source for text in rated]),
            np.array([text.shares for text in rated]),
            np.array([text.valence for text in rated]),
            np.array([hard_label(text.valence) for text in rated], dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.rated)

    @property
    def texts(self) -> list[str]:
        """The texts themselves."""
        return [text.text for text in self.rated]

    @property
    def documents(self) -> npt.NDArray[np.str_]:
        """What each text was taken from; texts of one document are alike."""
        return np.array([text.document for text in self.rated])

    def select(self, indices: npt.NDArray[np.integer]) -> Self:
        """The examples at these places."""
        return type(self)(
            [self.rated[index] for index in indices],
            self.sources[indices],
            self.shares[indices],
            self.valences[indices],
            self.labels[indices],
        )

    def where(self, chosen: npt.NDArray[np.bool_]) -> Self:
        """The examples for which `chosen`, bool [n], is true."""
        return self.select(np.flatnonzero(chosen))


def load_examples(archive: Path, seed: int) -> dict[Part, Examples]:
    """Reads the rated texts and splits them by document, in even shares of source and label."""
    examples = Examples.of(read_rated_texts(archive))
    parts = np.array(split(to_items(examples), seed))
    return {part: examples.where(parts == part) for part in Part}


def to_items(examples: Examples) -> list[Item]:
    """What a split has to know of examples."""
    return [
        Item(text.text, text.document, f"{text.source} {LABELS[label]}")
        for text, label in zip(examples.rated, examples.labels, strict=True)
    ]


def hard_label(valence: float) -> int:
    """The index of the label for a mean valence."""
    if valence <= _NEGATIVE_BELOW:
        return NEGATIVE
    return POSITIVE if valence >= _POSITIVE_FROM else NEUTRAL
