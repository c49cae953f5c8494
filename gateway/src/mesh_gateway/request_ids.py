"""Ids of requests: the caller's own where it is well-formed, else a new one."""

import random
import re
from typing import Final

from meshkit.redaction import holds_credential

# The system's own generator takes ten times as long. Of its own, so that no `random.seed` elsewhere
# makes two processes give the same ids.
_random: Final = random.Random()  # noqa: S311  # ids, not secrets
_WELL_FORMED: Final = re.compile(r"[A-Za-z0-9._:/=+-]{1,128}")


def request_id_of(given: str | None) -> str:
    """The id of a request, by what its caller gave: ids are written down, credentials never."""
    if given is not None and _WELL_FORMED.fullmatch(given) and not holds_credential(given):
        return given
    return f"{_random.getrandbits(128):032x}"
