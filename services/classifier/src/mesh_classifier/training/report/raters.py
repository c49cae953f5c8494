"""How far the raters agree: nobody can learn more from them than they agree on."""

import numpy as np

from mesh_classifier.calibration import LABELS
from mesh_classifier.training.data import Examples, hard_label
from mesh_classifier.training.report.figures import Raters
from mesh_pipelines.agreement import fleiss_kappa, pairwise_agreement
from mesh_pipelines.statistics import accuracy, macro_f1
from mesh_pipelines.weighted import Labels


def describe(examples: Examples, seed: int) -> Raters:
    """The agreement of the raters of some texts, each rated by two at least.

    Args:
        examples: the texts.
        seed: of the halves that raters are parted into.
    """
    ratings = [np.array(text.ratings) for text in examples.rated]
    counts = np.array([_counts(each) for each in ratings])
    halves = _halves(ratings, seed)
    return Raters(
        texts=len(ratings),
        raters=int(counts.sum()),
        pairwise_agreement=pairwise_agreement(counts),
        kappa=fleiss_kappa(counts),
        rater_accuracy=float(np.concatenate([_agree_with_rest(each) for each in ratings]).mean()),
        panel_accuracy=accuracy(*halves),
        panel_macro_f1=macro_f1(*halves, len(LABELS)),
    )


def _counts(ratings: Labels) -> Labels:
    """How many raters gave each label."""
    return np.bincount([hard_label(rating) for rating in ratings], minlength=len(LABELS))


def _agree_with_rest(ratings: Labels) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """For each rater, whether the mean of the others has the same label."""
    rest = (ratings.sum() - ratings) / (len(ratings) - 1)
    pairs = zip(ratings, rest, strict=True)
    return np.array([hard_label(one) == hard_label(others) for one, others in pairs])


def _halves(ratings: list[Labels], seed: int) -> tuple[Labels, Labels]:
    """The labels by two random halves of each text's raters."""
    random = np.random.default_rng(seed)
    labels = []
    for each in ratings:
        mixed = random.permutation(each)
        middle = len(mixed) // 2
        labels.append([hard_label(half.mean()) for half in (mixed[:middle], mixed[middle:])])
    first, second = np.array(labels, dtype=np.int64).T
    return first, second
