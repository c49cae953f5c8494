"""Texts to classify: most are new, some come again and again."""

import random
from collections.abc import Sequence
from typing import Final

REPEATED_SHARE: Final = 0.2
_REPEATED: Final = 100
_OPENINGS: Final = (
    "I bought this for my sister",
    "We watched it on a rainy evening",
    "The parcel came two days late",
    "Nobody at the desk could help us",
    "My old one lasted nine years",
    "It was a present for the whole family",
    "The second half is the better one",
    "Everything about the place is worn",
)
_MIDDLES: Final = (
    "and she uses it every single day",
    "and half of us fell asleep",
    "but the colours are lovely",
    "so I had to call three times",
    "though the sound could be fuller",
    "and I would gladly pay for it again",
    "while the price has gone up twice",
    "and none of the promises were kept",
)
_ENDS: Final = (
    "which says enough.",
    "and that is a pity.",
    "so I am more than pleased.",
    "as you would expect.",
    "and I will not come back.",
    "just as the pictures show.",
    "despite everything people say.",
    "for reasons I can't explain.",
)
_SUBJECTS: Final = (
    *("kettle", "novel", "hotel", "camera", "film", "album", "jacket", "garden", "printer", "tent"),
    *(
        "recipe",
        "concert",
        "bicycle",
        "phone",
        "museum",
        "lamp",
        "keyboard",
        "ferry",
        "game",
        "sofa",
    ),
)


class Texts:
    """Makes texts.

    Args:
        seed: two with the same one make the same texts.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311  # texts are no secret
        known = random.Random(0)  # noqa: S311  # the same; all callers repeat the same ones
        self._known = {
            length: [_text(known, length) for _ in range(_REPEATED)] for length in (1, 2, 12)
        }

    def short(self) -> str:
        """One of some 25 tokens."""
        return self._one(1)

    def usual(self) -> str:
        """One of some 50 tokens."""
        return self._one(2)

    def long(self) -> str:
        """One of some 300 tokens, more than the classifier reads."""
        return self._one(12)

    def _one(self, sentences: int) -> str:
        if self._random.random() < REPEATED_SHARE:
            return self._random.choice(self._known[sentences])
        return _text(self._random, sentences)


def _text(source: random.Random, sentences: int) -> str:
    return " ".join(_sentence(source) for _ in range(sentences))


def _sentence(source: random.Random) -> str:
    def one(of: Sequence[str]) -> str:
        return source.choice(of)

    number = source.randrange(2, 10_000)
    subject = f"the {one(_SUBJECTS)} with number {number}"
    return f"{one(_OPENINGS)}, {one(_MIDDLES)}: {subject}, {one(_ENDS)}"
