"""A mesh that shows what its gateway holds on to."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from processes import Gateway, Mesh, until

TASKS: Final = "mesh_tasks"
BLOCKS: Final = "mesh_blocks"


class Memory(NamedTuple):
    """The memory of a process that has been cleaned up: MiB, and blocks of Python's own."""

    rss_mib: float
    blocks: int


class Held(NamedTuple):
    """What a process holds: open descriptors but those to Redis, and tasks of its loop.

    Connections to Redis come from pools, which are bounded and keep what they have.
    """

    descriptors: int
    tasks: int

    def within(self, other: "Held") -> bool:
        """Whether it is no more than the other of anything."""
        return self.descriptors <= other.descriptors and self.tasks <= other.tasks


class WatchedGateway(Gateway):
    """The gateway, seen through /proc and one metric more."""

    module = "watched_gateway"

    def memory(self) -> Memory:
        """The memory that it has."""
        blocks = self._metric(BLOCKS)  # first, since this cleans up
        status = Path(f"/proc/{self._pid}/status").read_text()
        return Memory(int(status.split("VmRSS:")[1].split()[0]) / 1024, blocks)

    def held(self) -> Held:
        """What it holds now, with the request that asks for it."""
        tasks = self._metric(TASKS)
        links = [_target(each) for each in Path(f"/proc/{self._pid}/fd").iterdir()]
        pooled = self._pooled()
        return Held(sum(1 for link in links if link not in pooled), tasks)

    def _metric(self, name: str) -> int:
        found = re.search(rf"^{name}(?:{{.*}})? (\S+)$", self.metrics(), re.MULTILINE)
        assert found
        return int(float(found[1]))

    def _pooled(self) -> set[str]:
        """Its connections to Redis, as links of descriptors have them."""
        redis = urlsplit(self.environment["MESH_REDIS_URL"]).port
        connections = Path(f"/proc/{self._pid}/net/tcp").read_text().splitlines()[1:]
        fields = [line.split() for line in connections]
        return {
            f"socket:[{each[9]}]" for each in fields if int(each[2].partition(":")[2], 16) == redis
        }

    @property
    def _pid(self) -> int:
        assert self._process is not None
        return self._process.pid


def _target(link: Path) -> str:
    """What a descriptor is; nothing where it was closed just now."""
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""


class WatchedMesh(Mesh):
    """A mesh with such a gateway."""

    gateway: WatchedGateway
    gateway_type = WatchedGateway

    def held_at_rest(self) -> Held:
        """What the gateway holds once it has nothing to do and its callers have left.

        The least of a few looks, since the request that looks may still be there itself.
        """
        until(self.gateway.at_rest, "the rest of the gateway")
        return Held(*map(min, zip(*(self.gateway.held() for _ in range(5)), strict=True)))

    def held_in_the_end(self, before: Held) -> Held:
        """What it holds once that is no more than before, or when patience is over."""
        held = self.held_at_rest()

        def released() -> bool:
            nonlocal held
            held = self.held_at_rest()
            return held.within(before)

        with suppress(AssertionError):
            until(released, "the release")
        return held
