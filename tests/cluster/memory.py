"""Watches how much memory the mesh takes while other tests put load on it."""

import threading
from typing import Final, Self

from cluster.clusters import CommandFailed
from cluster.mesh import Mesh

_EVERY_S: Final = 15.0
"""As often as the resource metrics are new."""

Container = tuple[str, str]
"""The name of its pod, and its own."""


class MemoryWatch:
    """Samples every container of the mesh until the end of the block.

    Args:
        mesh: that is watched.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.most_bytes: dict[Container, int] = {}
        self.limit_bytes: dict[Container, int] = {}
        self.samples = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_EVERY_S):
            try:
                limits = self._mesh.memory_limits_bytes()
                used = self._mesh.memory_bytes()
            except CommandFailed:
                continue  # a node is gone: the next sample has those that are there
            self.samples += 1
            self.limit_bytes |= limits
            for container, size in used.items():
                self.most_bytes[container] = max(size, self.most_bytes.get(container, 0))
