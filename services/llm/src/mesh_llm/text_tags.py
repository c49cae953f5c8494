"""Tags in text that comes in pieces."""


def overlap(text: str, tag: str) -> int:
    """Length of the longest end of the text that is a beginning of the tag, and not all of it."""
    return next(
        (size for size in range(min(len(text), len(tag) - 1), 0, -1) if text.endswith(tag[:size])),
        0,
    )
