"""Who runs the command, for what is written down of its changes."""

import getpass
import os
import socket


def author() -> str:
    """Who runs this command, and where."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"
