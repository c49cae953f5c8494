"""Batches for training, each padded to its own longest text."""

from collections.abc import Iterator

import numpy as np

from mesh_classifier.training.encoding import Places, Rows

# So many batches' worth of texts are sorted by length together: enough for little padding, few
# enough for each epoch to mix anew what stands beside what.
_SORTED_TOGETHER = 50


def plan(rows: Rows, batch_size: int, seed: int, epoch: int) -> list[Places]:
    """The batches of one epoch, as places in `rows`; the same for the same arguments.

    Every text occurs once. Batches hold texts of like length and come in random order.
    """
    random = np.random.default_rng((seed, epoch))
    order = random.permutation(len(rows))
    batches = list(_of_like_length(order, rows, batch_size))
    return [batches[place] for place in random.permutation(len(batches))]


def _of_like_length(order: Places, rows: Rows, batch_size: int) -> Iterator[Places]:
    together = batch_size * _SORTED_TOGETHER
    for start in range(0, len(order), together):
        chunk = order[start : start + together]
        by_length = chunk[np.argsort([len(rows[place]) for place in chunk], kind="stable")]
        for first in range(0, len(by_length), batch_size):
            yield by_length[first : first + batch_size]
