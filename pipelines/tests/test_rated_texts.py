"""The real rated texts: what is in them, and what is made of them."""

import math
import re
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from mesh_pipelines.rated_texts import SOURCES, RatedText


def test_number_of_texts(rated_texts: list[RatedText]) -> None:
    assert Counter(text.source for text in rated_texts) == {
        "films": 10_605,
        "products": 3_708,
        "editorials": 5_190,
        "tweets": 4_200,
    }


def test_texts_stand_in_the_order_of_the_sources(rated_texts: list[RatedText]) -> None:
    assert list(dict.fromkeys(text.source for text in rated_texts)) == list(SOURCES)


def test_first_and_last_text(rated_texts: list[RatedText]) -> None:
    first, last = rated_texts[0], rated_texts[-1]
    assert (first.source, first.id, first.document) == ("films", "1", "films/1")
    assert first.text.startswith("The Rock is destined to be the 21st Century's new ''Conan''")
    assert first.ratings == (3, 2, 2, 2, 0, 4, 3, 1, 2, 2, 4, 3, 3, 1, 2)
    assert first.valence == 34 / 15
    assert first.shares == (0.0, 1 / 15, 14 / 15)
    assert (last.source, last.id) == ("tweets", "4200")


def test_number_of_texts_with_a_mean_of_zero(rated_texts: list[RatedText]) -> None:
    assert sum(text.valence == 0 for text in rated_texts) == 383


def test_editorials_are_often_near_neutral(rated_texts: list[RatedText]) -> None:
    near = [abs(text.valence) < 0.5 for text in rated_texts if text.source == "editorials"]
    assert sum(near) / len(near) == pytest.approx(0.43, abs=0.01)


def test_number_of_raters(rated_texts: list[RatedText]) -> None:
    numbers = [len(text.ratings) for text in rated_texts]
    assert (min(numbers), max(numbers)) == (15, 99)


def test_ratings_are_whole_and_within_bounds(rated_texts: list[RatedText]) -> None:
    assert {rating for text in rated_texts for rating in text.ratings} == set(range(-4, 5))


def test_ids_are_unique_within_a_source(rated_texts: list[RatedText]) -> None:
    assert len({(text.source, text.id) for text in rated_texts}) == len(rated_texts)


def test_number_of_documents(rated_texts: list[RatedText]) -> None:
    documents = {text.document: text.source for text in rated_texts}
    assert Counter(documents.values()) == {
        "films": 10_605,
        "products": 300,
        "editorials": 498,
        "tweets": 4_200,
    }


def test_document_is_named_by_source_and_id(rated_texts: list[RatedText]) -> None:
    for text in rated_texts:
        source, _, number = text.document.partition("/")
        assert source == text.source
        if source in {"products", "editorials"}:
            assert re.fullmatch(rf"{number}_\d+", text.id)
        else:
            assert number == text.id


def test_texts_are_clean(rated_texts: list[RatedText]) -> None:
    for text in rated_texts:
        assert text.text
        assert text.text == text.text.strip()
        assert not re.search(r"[\t\n\r\ufeff\ufffd]|&(amp|quot|lt|gt|#\d+);", text.text)


def test_shares_and_valence_follow_the_raters(rated_texts: list[RatedText]) -> None:
    for text in rated_texts:
        below, neutral, above = text.shares
        count = len(text.ratings)
        assert math.isclose(below + neutral + above, 1)
        assert round(neutral * count) == text.ratings.count(0)
        assert round(below * count) == sum(rating < 0 for rating in text.ratings)
        assert math.isclose(text.valence, sum(text.ratings) / count)
        assert -4 <= text.valence <= 4


def published_means(archive: Path, stem: str) -> dict[str, float]:
    """The means that the authors published beside the texts, by id."""
    with tarfile.open(archive) as tar:
        file = tar.extractfile(f"hutto_ICWSM_2014/{stem}_GroundTruth.txt")
        assert file is not None
        lines = file.read().decode("utf-8-sig").split("\r\n")
    return {line.split("\t")[0]: float(line.split("\t")[1]) for line in lines if line}


def test_published_means_of_196_tweets_are_not_their_raters(
    rated_archive: Path, rated_texts: list[RatedText]
) -> None:
    published = published_means(rated_archive, "tweets")
    off = [
        text.id
        for text in rated_texts
        if text.source == "tweets" and abs(published[text.id] - text.valence) > 0.01
    ]
    assert len(off) == 196


@pytest.mark.parametrize(
    ("source", "stem"),
    [
        ("films", "movieReviewSnippets"),
        ("products", "amazonReviewSnippets"),
        ("editorials", "nytEditorialSnippets"),
    ],
)
def test_other_published_means_show_that_texts_and_raters_are_joined_well(
    source: str, stem: str, rated_archive: Path, rated_texts: list[RatedText]
) -> None:
    published = published_means(rated_archive, stem)
    own = {text.id: text.valence for text in rated_texts if text.source == source}
    assert published == pytest.approx(own, abs=0.01)
