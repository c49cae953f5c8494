"""What goes wrong in offline work, said to its user in one line."""

import errno

_FULL = (errno.ENOSPC, errno.EDQUOT)


class PipelineError(Exception):
    """An offline step can't go on; the message names what is wrong and what to do about it."""


def from_os_error(error: OSError, remedy: str) -> PipelineError:
    """Describes what the operating system refused.

    Args:
        error: the refusal.
        remedy: what helps where the disk is full or the file may not be written.
    """
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in _FULL:
        return PipelineError(f"the disk is full{where}: free some space or {remedy}")
    return PipelineError(f"{error.strerror or error}{where}: mend that or {remedy}")
