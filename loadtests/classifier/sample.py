"""The texts that the load tests of the classifier send: some 32 tokens."""

from typing import Final

TEXT: Final = (
    "A quiet film that stays with you, though its second half could well be shorter, and one of "
    "the few this year whose people I would like to meet again some day soon."
)
# Each word of the text that has others in its place, all of them one token.
_WORDS: Final = (
    ("quiet", "small", "gentle", "slow", "dark", "warm", "strange", "clever"),
    ("film", "play", "book", "show", "story", "song", "game", "opera"),
    ("second", "first", "last", "middle", "final", "early", "other", "third"),
    ("shorter", "longer", "better", "faster", "louder", "softer", "clearer", "simpler"),
    ("year", "month", "week", "season", "summer", "winter", "spring", "autumn"),
    ("people", "places", "jokes", "songs", "houses", "words", "faces", "colours"),
    ("meet", "see", "hear", "know", "find", "watch", "visit", "follow"),
)
_CHOICES: Final = 8


def texts(first: int, count: int) -> list[str]:
    """So many texts like TEXT, of which no two are equal.

    Args:
        first: number of the first; others follow from other numbers, 2,097,152 in all.
        count: how many.
    """
    return [_text(number) for number in range(first, first + count)]


def _text(number: int) -> str:
    text = TEXT
    for words in _WORDS:
        number, choice = divmod(number, _CHOICES)
        text = text.replace(words[0], words[choice], 1)
    return text
