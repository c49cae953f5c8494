"""How far raters agree who each rated some of the items, in unequal numbers.

`counts` says how many raters put an item into a category: int64 [items, categories]. Items with
fewer than two ratings say nothing on agreement.
"""

import numpy as np

from mesh_pipelines.weighted import Floats, Labels


def pairwise_agreement(counts: Labels) -> float:
    """How likely two raters of one item agree, as the mean over the items."""
    return float(_agreeing(counts).mean())


def fleiss_kappa(counts: Labels) -> float:
    """Pairwise agreement beyond chance: 0 is what chance gives, 1 is perfect.

    Fleiss (1971), in the form for unequal numbers of raters: chance is taken from the mean over
    items of each category's share (Gwet, Handbook of Inter-Rater Reliability, 4th ed., 2014,
    section 2.4.2).
    """
    agreement = pairwise_agreement(counts)
    shares = counts / counts.sum(axis=1, keepdims=True)
    chance = float(np.square(shares.mean(axis=0)).sum())
    return (agreement - chance) / (1 - chance)


def _agreeing(counts: Labels) -> Floats:
    """The share of each item's pairs of raters that agree."""
    raters = counts.sum(axis=1)
    rated = raters > 1
    counts, raters = counts[rated], raters[rated]
    pairs: Floats = (counts * (counts - 1)).sum(axis=1) / (raters * (raters - 1))
    return pairs
