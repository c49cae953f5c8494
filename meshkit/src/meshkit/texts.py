"""Which texts a model is asked about."""

from typing import Final

MAX_TEXT_BYTES: Final = 64 * 1024
"""Longest text, in bytes of UTF-8; far more than a model of single texts reads of it."""


def fault_of(text: str) -> str | None:
    """What is wrong with a text and what to do about it; None when nothing is."""
    if not text:
        return "is empty; send a text, or leave it out"
    size = len(text.encode())
    if size > MAX_TEXT_BYTES:
        return f"has {size} bytes of UTF-8 and may have {MAX_TEXT_BYTES}; send a part of it"
    if text.isspace():
        return "has nothing but white space; send a text, or leave it out"
    return None
