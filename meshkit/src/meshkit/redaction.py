"""Keeps credentials out of what is written down, wherever a caller has put them.

What a caller sends is quoted in errors, logs and traces, and some callers send a key where it does
not belong: in a path, a header, a tensor's name. The id of a key is public and stays.
"""

import re
from typing import Final

# An API key (`meshkit.keys`), whole or cut, and a JSON Web Token: base64url of `{"`, then two dots.
_CREDENTIAL: Final = re.compile(r"(mesh_[a-z0-9]{12}_)[A-Za-z0-9]+|eyJ[\w-]{8,}(?:\.[\w-]*){0,2}")
_MARKS: Final = ("mesh_", "eyJ")


def redacted(text: str) -> str:
    """The text with `***` in place of every credential."""
    if not any(mark in text for mark in _MARKS):
        return text
    return _CREDENTIAL.sub(lambda found: f"{found[1] or ''}***", text)


def holds_credential(text: str) -> bool:
    """Whether there is a credential in the text."""
    return any(mark in text for mark in _MARKS) and _CREDENTIAL.search(text) is not None
