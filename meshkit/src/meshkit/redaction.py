"""Keeps credentials out of what is written down, wherever a caller has put them.

What a caller sends is quoted in errors, logs and traces, and some callers send a key where it does
not belong: in a path, a header, a tensor's name. The id of a key is public and stays.
"""

import re
from typing import Final

# An API key (`meshkit.keys`), whole or cut, and a JSON Web Token: base64url of `{"`, then two dots.
_CREDENTIAL: Final = re.compile(r"(mesh_[a-z0-9]{12}_)[A-Za-z0-9]+|eyJ[\w-]{8,}(?:\.[\w-]*){0,2}")


def redacted(text: str) -> str:
    """The text with `***` in place of every credential."""
    if not _may_hold(text):
        return text
    return _CREDENTIAL.sub(lambda found: f"{found[1] or ''}***", text)


def holds_credential(text: str) -> bool:
    """Whether there is a credential in the text."""
    return _may_hold(text) and _CREDENTIAL.search(text) is not None


def _may_hold(text: str) -> bool:
    # Every request asks this several times, and a loop over the two takes four times as long.
    return "mesh_" in text or "eyJ" in text
