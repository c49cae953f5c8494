"""The agreement of raters, by hand."""

import pytest

from mesh_classifier.training.data import Examples
from mesh_classifier.training.report import raters
from mesh_pipelines.rated_texts import RatedText


def rated(*ratings: tuple[int, ...]) -> Examples:
    return Examples.of(
        [
            RatedText("films", str(n), f"films/{n}", f"text {n}", each)
            for n, each in enumerate(ratings)
        ]
    )


def test_agreement_by_hand() -> None:
    found = raters.describe(rated((1, 2, -1), (-3, -3)), seed=0)
    assert (found.texts, found.raters) == (2, 5)
    # One pair of three agrees on the first text, the only pair on the second.
    assert found.pairwise_agreement == pytest.approx((1 / 3 + 1) / 2)
    # The rest of 1 is 0.5 (positive), of 2 is 0 (neutral), of -1 is 1.5; the others agree.
    assert found.rater_accuracy == pytest.approx((1 + 0 + 0 + 1 + 1) / 5)


def test_raters_who_say_the_same_agree_in_every_way() -> None:
    found = raters.describe(rated((2, 3, 1, 4), (-2, -2, -1), (0, 0)), seed=0)
    assert found.pairwise_agreement == found.kappa == found.rater_accuracy == 1
    assert found.panel_accuracy == found.panel_macro_f1 == 1


def test_halves_of_raters_who_differ_widely_disagree() -> None:
    texts = [(-4,) * 6 + (4,) * 6] * 200
    found = raters.describe(rated(*texts), seed=0)
    # Both halves sum to zero together, so they agree only where both are neutral.
    assert 0.1 < found.panel_accuracy < 0.6
