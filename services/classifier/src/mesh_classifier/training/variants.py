"""What a version may be trained on. All are tested on the same texts of every source."""

from collections.abc import Mapping
from typing import Final

from mesh_classifier.training.data import Examples
from mesh_pipelines.splits import Part

ALL: Final = "all"
"""Every source: what ships."""
FILMS: Final = "films"
"""Films only: the other sources are test slices that it never saw."""
CLEANED: Final = "cleaned"
"""Every source, without the training texts whose labels are likely wrong."""
DATA: Final = (ALL, FILMS, CLEANED)


def restrict(examples: Mapping[Part, Examples], data: str) -> dict[Part, Examples]:
    """The texts to train on, to choose by and to test on.

    Those of CLEANED are still with the labels that are likely wrong; they are found later.
    """
    if data != FILMS:
        return dict(examples)
    films = {
        part: examples[part].where(examples[part].sources == FILMS)
        for part in (Part.TRAIN, Part.VALIDATION)
    }
    return {**examples, **films}
