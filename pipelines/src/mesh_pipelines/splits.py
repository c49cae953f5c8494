"""Splits labelled texts into train, validation and test, so that no part has seen another.

Texts that share a document, or that are the same text, form one group, and a group stays whole.
Groups are dealt out so that each part has its share of each stratum.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import TypeVar

P = TypeVar("P")


class Part(StrEnum):
    """One part of a split data set."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


DEFAULT_FRACTIONS: Mapping[Part, float] = {
    Part.TRAIN: 0.8,
    Part.VALIDATION: 0.1,
    Part.TEST: 0.1,
}


@dataclass(frozen=True, slots=True)
class Item:
    """What the split has to know of a text."""

    text: str
    document: str
    stratum: str
    """Source and label: what each part should have in the same shares."""


def split(
    items: Sequence[Item], seed: int, fractions: Mapping[Part, float] = DEFAULT_FRACTIONS
) -> list[Part]:
    """Assigns every item to a part; the same items and seed give the same parts on any machine.

    Args:
        items: the texts, in any order.
        seed: another seed gives another split.
        fractions: the share of each part; they sum to 1.
    """
    return _deal(items, seed, fractions)


def folds(items: Sequence[Item], seed: int, count: int) -> list[int]:
    """Assigns every item to one of `count` folds of equal size, numbered from 0.

    As with parts, no fold has seen another, and the same arguments give the same folds anywhere.
    """
    return _deal(items, seed, dict.fromkeys(range(count), 1 / count))


def text_key(text: str) -> str:
    """What two texts that count as the same have in common: their words, whatever the case.

    Tweets come in variants that differ in capitals and exclamation marks only.
    """
    return " ".join(re.findall(r"\w+", text.casefold())) or text.strip()


def _deal(items: Sequence[Item], seed: int, fractions: Mapping[P, float]) -> list[P]:
    totals = Counter(item.stratum for item in items)
    lacking = {
        part: {stratum: fraction * total for stratum, total in totals.items()}
        for part, fraction in fractions.items()
    }
    parts: dict[int, P] = {}
    # Large groups go first: the many single texts then even out what those left uneven.
    groups = sorted(_groups(items), key=lambda group: (-len(group), _place(items, group, seed)))
    for group in groups:
        counts = Counter(items[index].stratum for index in group)
        part = max(lacking, key=lambda part: _gain(lacking[part], counts, totals))
        for stratum, count in counts.items():
            lacking[part][stratum] -= count
        parts |= dict.fromkeys(group, part)
    return [parts[index] for index in range(len(items))]


def _groups(items: Sequence[Item]) -> list[list[int]]:
    """The connected components of items that share a document or a text (union-find)."""
    parents = list(range(len(items)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    first_of: dict[tuple[str, str], int] = {}
    for index, item in enumerate(items):
        for key in (("document", item.document), ("text", text_key(item.text))):
            parents[root(index)] = root(first_of.setdefault(key, index))
    members: dict[int, list[int]] = defaultdict(list)
    for index in range(len(items)):
        members[root(index)].append(index)
    return list(members.values())


def _gain(
    lacking: Mapping[str, float], counts: Mapping[str, int], totals: Mapping[str, int]
) -> float:
    """How much a part's squared shortfalls fall when it takes a group."""
    return sum(
        count * (2 * lacking[stratum] - count) / totals[stratum]
        for stratum, count in counts.items()
    )


def _place(items: Sequence[Item], group: Sequence[int], seed: int) -> bytes:
    """A seeded place in the order that depends on the texts alone, not on where they stand."""
    texts = sorted(chain.from_iterable((items[i].document, items[i].text) for i in group))
    return hashlib.sha256(repr((seed, texts)).encode()).digest()
