"""Confident learning finds labels that were swapped on purpose."""

import json

import numpy as np
import pytest

from mesh_classifier.training import label_errors
from mesh_classifier.training.data import Examples
from mesh_classifier.training.heads import Sample, fit_heads
from mesh_classifier.training.label_errors import Suspects
from mesh_classifier.training.network import Heads
from mesh_pipelines.rated_texts import RatedText
from mesh_pipelines.splits import Part

WIDTH = 6


def rated(count: int, seed: int) -> tuple[Examples, np.ndarray]:
    """Texts whose embeddings tell their label, in documents of three."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    texts = [
        RatedText(
            "films", f"{seed}-{n}", f"films/{seed}-{n // 3}", f"text {seed} {n}", (rating,) * 3
        )
        for n, rating in enumerate((labels - 1) * 2)
    ]
    embeddings = random.normal(0, 1, (count, WIDTH)).astype(np.float32)
    embeddings[np.arange(count), labels] += 5
    return Examples.of(texts), embeddings


def test_swapped_labels_are_found_and_true_ones_are_left_alone() -> None:
    training, embeddings = rated(600, 1)
    validation, validation_embeddings = rated(200, 2)
    swapped = np.random.default_rng(0).choice(600, 30, replace=False)
    wrong = list(training.rated)
    for place in swapped:
        text = wrong[place]
        rating = 2 if text.valence < 0 else -2
        wrong[place] = RatedText(text.source, text.id, text.document, text.text, (rating,) * 3)
    suspects = label_errors.find(
        {Part.TRAIN: Examples.of(wrong), Part.VALIDATION: validation},
        {Part.TRAIN: embeddings, Part.VALIDATION: validation_embeddings},
        seed=3,
    )
    found = set(suspects.places.tolist())
    assert len(found & set(swapped.tolist())) >= 28
    assert len(found - set(swapped.tolist())) <= 5
    assert suspects.kept().sum() == 600 - len(found)
    assert not suspects.kept()[suspects.places].any()


def test_a_listed_suspect_says_what_is_known_of_it() -> None:
    examples = Examples.of([RatedText("tweets", "17", "tweets/17", "so good", (-2, -1, -3, -2))])
    suspects = Suspects(np.array([0]), np.array([[0.05, 0.15, 0.8]]))
    (found,) = suspects.listed(examples)
    assert (found.source, found.id, found.text) == ("tweets", "17", "so good")
    assert (found.label, found.suggested) == ("negative", "positive")
    assert (found.probability, found.valence, found.raters) == (0.05, -2.0, 4)
    assert json.dumps(found.valence) == "-2.0"


def test_no_text_is_judged_by_heads_that_saw_its_document(monkeypatch: pytest.MonkeyPatch) -> None:
    training, embeddings = rated(300, 4)
    validation, validation_embeddings = rated(90, 5)
    fitted: list[np.ndarray] = []

    def fit(sample: Sample, chosen_by: Sample) -> tuple[Heads, dict[str, float]]:
        fitted.append(sample.embeddings)
        return fit_heads(sample, chosen_by)

    monkeypatch.setattr("mesh_classifier.training.label_errors.fit_heads", fit)
    label_errors.find(
        {Part.TRAIN: training, Part.VALIDATION: validation},
        {Part.TRAIN: embeddings, Part.VALIDATION: validation_embeddings},
        seed=3,
    )
    documents = dict(zip(map(bytes, embeddings), training.documents, strict=True))
    seen = [{documents[bytes(row)] for row in each} for each in fitted]
    assert len(seen) == 5
    # Each document is left out exactly once, as a whole.
    for document in set(training.documents):
        assert sum(document not in each for each in seen) == 1
