"""One error of every class, with all that it can say, as the stand-in service raises it."""

from collections.abc import Mapping
from typing import Any, Final

from meshkit.errors import (
    FieldViolation,
    InvalidArgument,
    MeshError,
    Overloaded,
    PayloadTooLarge,
    QuotaExceeded,
    QuotaViolation,
)

CLASSES: Final[Mapping[str, type[MeshError]]] = {
    each.__name__: each for each in MeshError.__subclasses__()
}
MESSAGE: Final = "something is wrong \u2013 do something else"
"""What each error says; not all of it is ASCII."""
_ASK: Final = "raise "
_FACTS: Final[Mapping[type[MeshError], Mapping[str, Any]]] = {
    InvalidArgument: {"violations": [FieldViolation("texts[0]", "is wrong")]},
    PayloadTooLarge: {"metadata": {"max_message_bytes": "7"}},
    Overloaded: {"retry_delay_s": 2.5},
    QuotaExceeded: {
        "quotas": [QuotaViolation("key", "key:a1b2c3", "600 requests a minute")],
        "retry_delay_s": 61.25,
    },
}


def ask_for(name: str) -> str:
    """The text that makes the stand-in service raise the error of a class."""
    return f"{_ASK}{name}"


def error_of(text: str) -> MeshError | None:
    """The error that a text asks for; None where it asks for none."""
    kind = CLASSES.get(text.removeprefix(_ASK)) if text.startswith(_ASK) else None
    return kind(MESSAGE, **_FACTS.get(kind, {})) if kind else None
