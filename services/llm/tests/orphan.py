"""A process with a child of its own that watches it, as the engine's processes do."""

import multiprocessing
import sys
import time

from mesh_llm.engines import parent_watch


def child() -> None:
    parent_watch.install()
    parent_watch.install()  # vLLM may call a plugin twice
    grandchild = multiprocessing.get_context("spawn").Process(target=grandchild_of)
    grandchild.start()
    sys.stdout.write(f"{multiprocessing.current_process().pid} {grandchild.pid}\n")
    sys.stdout.flush()
    time.sleep(600)


def grandchild_of() -> None:
    parent_watch.install()
    time.sleep(600)


if __name__ == "__main__":
    parent_watch.install()  # nothing to watch here: this one was started by no Python
    begun = multiprocessing.get_context("spawn").Process(target=child)
    begun.start()
    begun.join()
