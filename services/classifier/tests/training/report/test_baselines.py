"""The baselines, on a few of the real texts."""

from collections.abc import Mapping

import numpy as np
import pytest

from mesh_classifier.calibration import LABELS
from mesh_classifier.fallback import Lexicon
from mesh_classifier.training.data import NEGATIVE, NEUTRAL, POSITIVE, Examples
from mesh_classifier.training.report import baselines
from mesh_pipelines.splits import Part
from mesh_pipelines.statistics import macro_f1


@pytest.fixture(scope="module")
def parts(examples: Mapping[Part, Examples]) -> dict[Part, Examples]:
    return {
        part: examples[part].select(np.linspace(0, len(examples[part]) - 1, count, dtype=np.int64))
        for part, count in ((Part.TRAIN, 2000), (Part.VALIDATION, 400), (Part.TEST, 400))
    }


def test_vader_is_the_rule_that_serves_as_fallback(parts: dict[Part, Examples]) -> None:
    system = baselines.vader(parts[Part.VALIDATION], parts[Part.TEST])
    lexicon = Lexicon()
    for place, text in enumerate(parts[Part.TEST].texts[:50]):
        answer = lexicon.classify(text, "")
        assert LABELS[system.labels[place]] == answer.label
        assert tuple(system.shares[place]) == answer.probabilities
        assert system.polarity[place] == answer.valence


def test_vader_is_cut_where_validation_wants_it(parts: dict[Part, Examples]) -> None:
    validation = parts[Part.VALIDATION]
    system = baselines.vader(validation, validation)
    assert set(system.polar.tolist()) == {NEGATIVE, POSITIVE}
    assert (
        system.polarity[system.polar == NEGATIVE].max()
        < system.polarity[system.polar == POSITIVE].min()
    )
    polar = validation.labels != NEUTRAL

    def f1(answers: np.ndarray) -> float:
        return macro_f1(validation.labels[polar], answers[polar], 3)

    at_zero = np.where(system.polarity >= 0, POSITIVE, NEGATIVE)
    assert f1(system.polar) >= f1(at_zero)


def test_counted_words_beat_guessing_and_never_see_the_test_part(
    parts: dict[Part, Examples],
) -> None:
    system = baselines.tf_idf(parts[Part.TRAIN], parts[Part.VALIDATION], parts[Part.TEST])
    truth = parts[Part.TEST].labels
    most_common = np.bincount(truth).max() / len(truth)
    assert np.mean(system.labels == truth) > most_common + 0.05
    np.testing.assert_allclose(system.shares.sum(axis=1), 1)
    swapped = Examples.of(
        [text for text in reversed(parts[Part.TEST].rated)]  # noqa: C416  # a list is asked for
    )
    again = baselines.tf_idf(parts[Part.TRAIN], parts[Part.VALIDATION], swapped)
    np.testing.assert_allclose(again.shares[::-1], system.shares)
