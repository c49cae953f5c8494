"""The text that the load tests of the classifier send: some 32 tokens."""

from typing import Final

TEXT: Final = (
    "A quiet film that stays with you, though its second half could well be shorter, and one of "
    "the few this year whose people I would like to meet again some day soon."
)
