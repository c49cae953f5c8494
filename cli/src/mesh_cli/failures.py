"""What goes wrong on a user's machine, said in one line."""

import errno


class Failure(Exception):
    """A condition the user can mend; its text says what is wrong and what to do, in one line."""


def of_os_error(error: OSError) -> Failure:
    """Says an operating system error in one line, with its remedy where there is a common one."""
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failure(f"the disk is full{where}: free some space, then run the same command again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Failure(
            f"no permission to write{where}: change the owner or the mode of it, "
            "or set MESH_STATE_PATH to a folder of yours"
        )
    return Failure(f"{error.strerror or error}{where}")
