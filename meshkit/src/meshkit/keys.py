"""API keys as their owners hold them.

A key is shown once, when it is made. `meshkit.key_store` keeps a keyed hash of it, so that whoever
reads the store can neither use a key nor, without the hashing key, test a guess.
"""

import re
import secrets
import string
import zlib
from dataclasses import dataclass, field
from typing import Final, Self

from meshkit.errors import Unauthenticated

_MARK: Final = "mesh"
_ID_ALPHABET: Final = string.ascii_lowercase + string.digits
_ALPHABET: Final = string.ascii_letters + string.digits
_ID_LENGTH: Final = 12
_SECRET_LENGTH: Final = 32  # 190 bits
_CHECKSUM_LENGTH: Final = 6
_FORM: Final = re.compile(
    rf"{_MARK}_([a-z0-9]{{{_ID_LENGTH}}})_"
    rf"([A-Za-z0-9]{{{_SECRET_LENGTH}}})([A-Za-z0-9]{{{_CHECKSUM_LENGTH}}})"
)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as its owner holds it: `mesh_<id>_<secret and checksum>`.

    The id is public and may stand in logs. The checksum lets a mistyped key be refused without
    asking anyone.
    """

    id: str
    text: str = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """A new key."""
        key_id = "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))
        secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
        unchecked = f"{_MARK}_{key_id}_{secret}"
        return cls(key_id, unchecked + _checksum(unchecked))

    @classmethod
    def parse(cls, text: str) -> Self:
        """The key that a caller presents.

        Raises:
            Unauthenticated: the text has not the form of a key, or its checksum is wrong.
        """
        match = _FORM.fullmatch(text)
        if match is None or _checksum(text[:-_CHECKSUM_LENGTH]) != match[3]:
            raise Unauthenticated(
                "the API key is malformed; copy it whole, from mesh_ to its last character",
                reason="KEY_MALFORMED",
            )
        return cls(match[1], text)


def _checksum(text: str) -> str:
    number = zlib.crc32(text.encode())
    digits = ""
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
