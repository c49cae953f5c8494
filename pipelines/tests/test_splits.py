import random
from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_pipelines.rated_texts import RatedText
from mesh_pipelines.splits import DEFAULT_FRACTIONS, Item, Part, folds, split, text_key

SEED = 3
# Few words, so that equal texts in different dress, documents and sources meet often.
words = st.sampled_from(["good", "Good!", "GOOD ...", "bad", "so so", "So-so", ":)", ":-(", "?"])
items = st.builds(
    Item,
    text=st.one_of(words, st.text(max_size=8)),
    document=st.integers(0, 12).map("films/{}".format),
    stratum=st.sampled_from(["films 0", "films 1", "tweets 0", "tweets 2"]),
)
lists_of_items = st.lists(items, max_size=40)
seeds = st.integers(0, 2**32)


def parts_by(keys: Sequence[str], parts: Sequence[Part]) -> dict[str, set[Part]]:
    """The parts in which each key stands."""
    met = defaultdict(set)
    for key, part in zip(keys, parts, strict=True):
        met[key].add(part)
    return met


def nothing_is_shared(items: Sequence[Item], parts: Sequence[Part]) -> bool:
    """Whether no document and no text stands in two parts."""
    by_document = parts_by([item.document for item in items], parts)
    by_text = parts_by([text_key(item.text) for item in items], parts)
    return all(len(met) == 1 for met in [*by_document.values(), *by_text.values()])


@given(lists_of_items, seeds)
def test_no_document_and_no_text_is_in_two_parts(items: list[Item], seed: int) -> None:
    parts = split(items, seed)
    assert len(parts) == len(items)
    assert nothing_is_shared(items, parts)


@given(lists_of_items, seeds)
def test_same_seed_gives_the_same_split(items: list[Item], seed: int) -> None:
    assert split(items, seed) == split(items, seed)


@given(lists_of_items, seeds, st.randoms(use_true_random=False))
def test_order_of_the_items_is_of_no_matter(
    items: list[Item], seed: int, shuffler: random.Random
) -> None:
    order = list(range(len(items)))
    shuffler.shuffle(order)
    shuffled = split([items[index] for index in order], seed)
    straight = split(items, seed)
    assert shuffled == [straight[index] for index in order]


def test_split_is_the_same_on_any_machine() -> None:
    items = [Item(f"text {number}", f"films/{number // 2}", "films") for number in range(20)]
    of_test = [index for index, part in enumerate(split(items, SEED)) if part is Part.TEST]
    assert of_test == [14, 15]


def test_another_seed_gives_another_split() -> None:
    items = [Item(f"text {number}", f"films/{number}", "films") for number in range(200)]
    splits = {tuple(split(items, seed)) for seed in range(5)}
    assert len(splits) == 5


def test_nothing_gives_nothing() -> None:
    assert split([], SEED) == []


def test_fractions_are_met_when_texts_stand_alone() -> None:
    items = [Item(f"t{number}", f"d{number}", f"s{number % 4}") for number in range(400)]
    counts = Counter(
        (item.stratum, part) for item, part in zip(items, split(items, SEED), strict=True)
    )
    for stratum in ("s0", "s1", "s2", "s3"):
        assert counts[stratum, Part.TRAIN] == 80
        assert counts[stratum, Part.VALIDATION] == 10
        assert counts[stratum, Part.TEST] == 10


def test_fractions_may_be_chosen() -> None:
    items = [Item(f"t{number}", f"d{number}", "s") for number in range(100)]
    halves = {Part.TRAIN: 0.5, Part.TEST: 0.5}
    assert Counter(split(items, SEED, halves)) == {Part.TRAIN: 50, Part.TEST: 50}


@given(lists_of_items, seeds)
def test_no_document_and_no_text_is_in_two_folds(items: list[Item], seed: int) -> None:
    found = folds(items, seed, 4)
    assert len(found) == len(items)
    assert set(found) <= set(range(4))
    by_document, by_text = defaultdict(set), defaultdict(set)
    for item, fold in zip(items, found, strict=True):
        by_document[item.document].add(fold)
        by_text[text_key(item.text)].add(fold)
    assert all(len(met) == 1 for met in [*by_document.values(), *by_text.values()])
    assert folds(items, seed, 4) == found


def test_folds_are_of_one_size_when_texts_stand_alone() -> None:
    items = [Item(f"text {n}", f"films/{n}", f"films {n % 3}") for n in range(300)]
    found = Counter(zip(folds(items, SEED, 5), (item.stratum for item in items), strict=True))
    assert set(found.values()) == {20}


def test_chain_of_documents_and_texts_stays_together() -> None:
    links = [Item(f"t{n // 2}", f"d{(n + 1) // 2}", "s") for n in range(40)]
    alone = [Item(f"alone {n}", f"alone {n}", "s") for n in range(400)]
    parts = split(links + alone, SEED)
    assert len(set(parts[:40])) == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Don't waste your money.", "don't waste your money", True),
        ("Wow!", "wow", True),
        ("STRASSE", "stra\u00dfe", True),
        ("two  words", "two words", True),
        (":)", " :) ", True),
        (":)", ":(", False),
        ("not good", "good", False),
        ("twowords", "two words", False),
        ("", "x", False),
    ],
)
def test_texts_that_count_as_the_same(one: str, other: str, same: bool) -> None:
    assert (text_key(one) == text_key(other)) is same


class TestRealTexts:
    """The split that trainings use."""

    @pytest.fixture(scope="class")
    @staticmethod
    def items(rated_texts: list[RatedText]) -> list[Item]:
        def label(valence: float) -> str:
            if valence <= -0.5:
                return "negative"
            return "positive" if valence >= 0.5 else "neutral"

        return [
            Item(text.text, text.document, f"{text.source} {label(text.valence)}")
            for text in rated_texts
        ]

    @pytest.fixture(scope="class")
    @staticmethod
    def parts(items: list[Item]) -> list[Part]:
        return split(items, SEED)

    def test_nothing_is_shared(self, items: list[Item], parts: list[Part]) -> None:
        assert nothing_is_shared(items, parts)

    def test_fractions_are_kept_in_every_stratum(
        self, items: list[Item], parts: list[Part]
    ) -> None:
        totals = Counter(item.stratum for item in items)
        counts = Counter((item.stratum, part) for item, part in zip(items, parts, strict=True))
        assert len(totals) == 12
        for stratum, total in totals.items():
            for part, fraction in DEFAULT_FRACTIONS.items():
                assert counts[stratum, part] / total == pytest.approx(fraction, abs=0.01)

    def test_equal_texts_of_different_sources_stay_together(
        self, items: list[Item], parts: list[Part]
    ) -> None:
        sources = defaultdict(set)
        for item in items:
            sources[text_key(item.text)].add(item.document.partition("/")[0])
        shared = {key for key, met in sources.items() if len(met) > 1}
        assert len(shared) == 7
        by_text = parts_by([text_key(item.text) for item in items], parts)
        assert all(len(by_text[key]) == 1 for key in shared)

    def test_order_is_of_no_matter(self, items: list[Item], parts: list[Part]) -> None:
        order = random.Random(1).sample(range(len(items)), len(items))
        shuffled = split([items[index] for index in order], SEED)
        assert shuffled == [parts[index] for index in order]

    def test_another_seed_gives_another_split(self, items: list[Item], parts: list[Part]) -> None:
        other = split(items, SEED + 1)
        same = sum(one is two for one, two in zip(parts, other, strict=True))
        assert same / len(items) < 0.8
