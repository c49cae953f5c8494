"""Looks at a mirror again and again, and stays calm while it is away."""

import random
import time
from collections.abc import Callable
from typing import Final, NoReturn

from meshkit.aliases import AliasMoved, BadAlias
from meshkit.errors import StartError

FAILURES: Final = (StartError, BadAlias, AliasMoved, OSError)
"""What bringing a version or an alias from a mirror may end with."""

LONGEST_WAIT_S: Final = 30.0


def follow(look: Callable[[], None], every_s: float, say: Callable[[str], None]) -> NoReturn:
    """Looks for what is new, for as long as it is let; what goes wrong is said once.

    Args:
        look: brings what is new.
        every_s: from one look to the next. It doubles while the mirror can't be used, up to 30 s,
            and is never the same twice, so that those who wait for it do not come at once.
        say: told what goes wrong.
    """
    said, wait_s = "", every_s
    while True:
        try:
            look()
            said, wait_s = "", every_s
        except FAILURES as error:
            if str(error) != said:
                said = str(error)
                say(said)
            wait_s = max(every_s, min(2 * wait_s, LONGEST_WAIT_S))
        time.sleep(wait_s * random.uniform(0.8, 1.2))  # noqa: S311  # no secret
