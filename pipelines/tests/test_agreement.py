"""Agreement of raters against published figures and an independent library's."""

from itertools import combinations
from statistics import mean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_pipelines.agreement import fleiss_kappa, pairwise_agreement

# Ten subjects, fourteen raters, five categories: the worked example of the article "Fleiss' kappa"
# in Wikipedia, which gives 0.378 and 0.210.
PUBLISHED = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]


def test_the_published_example() -> None:
    counts = np.array(PUBLISHED)
    assert pairwise_agreement(counts) == pytest.approx(0.378, abs=5e-4)
    assert fleiss_kappa(counts) == pytest.approx(0.210, abs=5e-4)


def test_those_who_agree_always_and_by_chance() -> None:
    assert fleiss_kappa(np.array([[5, 0], [0, 3], [4, 0]])) == 1
    random = np.random.default_rng(0)
    counts = random.multinomial(9, [0.5, 0.3, 0.2], 4000)
    assert fleiss_kappa(counts) == pytest.approx(0, abs=0.01)


@given(st.lists(st.lists(st.integers(0, 2), min_size=2, max_size=7), min_size=2, max_size=9))
def test_unequal_numbers_of_raters_pair_by_pair(items: list[list[int]]) -> None:
    counts = np.array([[ratings.count(label) for label in range(3)] for ratings in items])
    pairs = [list(combinations(ratings, 2)) for ratings in items]
    expected = mean([mean([one == other for one, other in each]) for each in pairs])
    assert pairwise_agreement(counts) == pytest.approx(expected)


def test_unequal_numbers_of_raters_against_irrcac() -> None:
    """Its example of four raters with missing ratings, for which it gives 0.81818 and 0.76117."""
    none = 0
    ratings = [
        *([1, 1, none, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4]),
        *([4, 4, 4, 4], [1, 1, 2, 1], [2, 2, 2, 2], [none, 5, 5, 5], [none, none, 1, 1]),
        [none, none, 3, none],
    ]
    counts = np.array([[row.count(label) for label in range(1, 6)] for row in ratings])
    assert pairwise_agreement(counts) == pytest.approx(0.81818, abs=5e-6)
    assert fleiss_kappa(counts) == pytest.approx(0.76117, abs=5e-6)


def test_a_single_rating_says_nothing_on_agreement() -> None:
    counts = np.array([[2, 2, 0], [0, 1, 3]])
    with_one = np.vstack([counts, [[1, 0, 0]]])
    assert pairwise_agreement(with_one) == pairwise_agreement(counts)
