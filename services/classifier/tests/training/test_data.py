"""The targets that texts get from their raters."""

from collections.abc import Mapping

import numpy as np
import pytest

from mesh_classifier.calibration import LABELS
from mesh_classifier.training.data import Examples, hard_label
from mesh_pipelines.rated_texts import SOURCES, RatedText
from mesh_pipelines.splits import Part, text_key


@pytest.mark.parametrize(
    ("valence", "label"),
    [
        (-4, "negative"),
        (-0.5, "negative"),
        (-0.49, "neutral"),
        (0, "neutral"),
        (0.49, "neutral"),
        (0.5, "positive"),
        (4, "positive"),
    ],
)
def test_the_bounds_of_neutral_belong_to_its_neighbours(valence: float, label: str) -> None:
    assert LABELS[hard_label(valence)] == label


def test_targets_come_from_the_raters() -> None:
    rated = RatedText("films", "1", "films/1", "so so", (-1, 0, 0, 4))
    examples = Examples.of([rated])
    assert examples.texts == ["so so"]
    np.testing.assert_allclose(examples.shares, [[0.25, 0.5, 0.25]])
    np.testing.assert_allclose(examples.valences, [0.75])
    assert [LABELS[label] for label in examples.labels] == ["positive"]


def test_every_text_is_in_one_part(examples: Mapping[Part, Examples]) -> None:
    keys = {part: {text_key(text) for text in each.texts} for part, each in examples.items()}
    assert not keys[Part.TRAIN] & keys[Part.VALIDATION]
    assert not keys[Part.TRAIN] & keys[Part.TEST]
    assert not keys[Part.VALIDATION] & keys[Part.TEST]
    assert sum(map(len, examples.values())) == 10_605 + 3_708 + 5_190 + 4_200


@pytest.mark.parametrize("part", Part)
def test_each_part_has_its_share_of_each_source_and_label(
    examples: Mapping[Part, Examples], part: Part
) -> None:
    share = 0.8 if part == Part.TRAIN else 0.1
    for source in SOURCES:
        for label in range(len(LABELS)):
            counts = {
                name: np.sum((each.sources == source) & (each.labels == label))
                for name, each in examples.items()
            }
            assert counts[part] / sum(counts.values()) == pytest.approx(share, abs=0.005)


def test_selected_examples_keep_their_targets(examples: Mapping[Part, Examples]) -> None:
    test = examples[Part.TEST]
    few = test.select(np.array([5, 2]))
    assert few.texts == [test.texts[5], test.texts[2]]
    np.testing.assert_array_equal(few.shares, test.shares[[5, 2]])
    np.testing.assert_array_equal(few.valences, test.valences[[5, 2]])
    np.testing.assert_array_equal(few.labels, test.labels[[5, 2]])
    np.testing.assert_array_equal(few.sources, test.sources[[5, 2]])
    assert len(few) == 2
