"""Which texts are refused, and how that is told."""

import pytest

from meshkit.texts import MAX_TEXT_BYTES, fault_of


@pytest.mark.parametrize("text", ["a", " a\n", "x" * MAX_TEXT_BYTES, "\u00e9" * 32_768, "\x00"])
def test_a_text_with_something_in_it_is_taken(text: str) -> None:
    assert fault_of(text) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty; send a text, or leave it out"),
        (" \n\u2003", "has nothing but white space; send a text, or leave it out"),
        ("x" * 65_537, "has 65537 bytes of UTF-8 and may have 65536; send a part of it"),
        ("\u00e9" * 32_769, "has 65538 bytes of UTF-8 and may have 65536; send a part of it"),
    ],
)
def test_what_is_wrong_is_told_with_the_remedy(text: str, fault: str) -> None:
    assert fault_of(text) == fault
