"""The order in which texts are trained on."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mesh_classifier.training.batches import plan

lengths = st.lists(st.integers(1, 50), min_size=1, max_size=300)


@given(lengths, st.integers(1, 40), st.integers(0, 2**32 - 1), st.integers(0, 9))
def test_every_text_occurs_once_an_epoch(
    sizes: list[int], batch_size: int, seed: int, epoch: int
) -> None:
    rows = [[1] * size for size in sizes]
    batches = plan(rows, batch_size, seed, epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(rows)))
    assert all(0 < len(batch) <= batch_size for batch in batches)
    assert len(batches) == -(-len(rows) // batch_size)
    again = plan(rows, batch_size, seed, epoch)
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in batches]


def test_another_epoch_has_another_order() -> None:
    rows = [[1] * (1 + place % 30) for place in range(500)]
    first, second = (np.concatenate(plan(rows, 8, 3, epoch)) for epoch in (0, 1))
    assert (first != second).mean() > 0.9


def test_texts_of_like_length_stand_together() -> None:
    random = np.random.default_rng(0)
    rows = [[1] * int(size) for size in random.geometric(1 / 25, 5000)]
    tokens = sum(map(len, rows))
    padded = sum(
        max(len(rows[place]) for place in batch) * len(batch) for batch in plan(rows, 32, 1, 0)
    )
    unsorted = [random.permutation(5000)[start : start + 32] for start in range(0, 5000, 32)]
    worse = sum(max(len(rows[place]) for place in batch) * len(batch) for batch in unsorted)
    assert padded < 1.15 * tokens < 0.5 * worse
