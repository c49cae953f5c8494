"""Ends the processes of an engine when the process that started them is gone, whatever ended it.

vLLM's engine core notices a parent that says goodbye, and not one that is killed: it would go on
with its gigabytes. vLLM calls `install` in each of its processes, as a plugin (the entry point
`vllm.general_plugins` of this package).
"""

import multiprocessing
import os
import threading
from typing import Final

from meshkit.logs import configure_logging

_ORPHANED: Final = 70
_installed = threading.Event()


def install() -> None:
    """Watches the parent of this process, where it is a process of an engine."""
    parent = multiprocessing.parent_process()
    if parent is None or _installed.is_set():
        return
    _installed.set()
    configure_logging("info", "llm")

    def watch() -> None:
        parent.join()  # a pipe that the kernel closes when the parent ends, by whatever
        os._exit(_ORPHANED)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
