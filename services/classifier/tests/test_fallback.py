"""The lexicon rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_classifier.calibration import LABELS
from mesh_classifier.fallback import Lexicon

lexicon = Lexicon()


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("I love it, wonderful!", "positive"),
        ("Terrible, I hate it.", "negative"),
        ("The meeting is on Thursday.", "neutral"),
        ("not good", "negative"),
    ],
)
def test_labels_as_the_lexicon_does(text: str, label: str) -> None:
    answer = lexicon.classify(text, "a test")
    assert answer.label == label
    assert answer.label == LABELS[answer.probabilities.index(max(answer.probabilities))]
    assert (answer.valence > 0) == (label == "positive")
    assert (answer.valence < 0) == (label == "negative")


def test_says_why_it_answered() -> None:
    answer = lexicon.classify("fine", "the model failed on this text")
    assert answer.degraded == "the model failed on this text; the VADER lexicon rule answered"
    assert not answer.truncated


def test_reads_the_beginning_of_a_long_text() -> None:
    beginning = "good day not bad but nice ".ljust(2000, ".")
    short, long = (lexicon.classify(beginning + tail, "a test") for tail in ("", " bad" * 15_000))
    assert (short.truncated, long.truncated) == (False, True)
    assert (short.label, short.valence) == (long.label, long.valence)


@given(st.text(min_size=1, max_size=200))
def test_answers_any_text(text: str) -> None:
    answer = lexicon.classify(text, "a test")
    assert answer.label in LABELS
    assert sum(answer.probabilities) == pytest.approx(1, abs=1e-12)
    assert -4 <= answer.valence <= 4
