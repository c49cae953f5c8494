"""What goes wrong in offline work, said to its user in one line."""

import errno
from pathlib import Path


class PipelineError(Exception):
    """An offline step can't go on; the message names what is wrong and what to do about it."""


def from_os_error(error: OSError, path: Path) -> PipelineError:
    """Describes an operating system's refusal to write below `path`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return PipelineError(
            f"the disk that holds {path} is full: free some space and run it again"
        )
    reason = error.strerror or str(error)
    return PipelineError(f"can't write to {path}: {reason}; make it writable or choose another")
