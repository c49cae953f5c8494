"""A replica that is faulty or slow half of the time, beside a good one."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from chaos_replica import MOOD
from processes import Mesh, StandInService, until

pytestmark = pytest.mark.full

CLASSIFY: Final = "/v1/classify"
STATUS: Final = {"fault": 500, "late": 504}
FAIR_MS: Final = 1100
"""What a caller gives; a replica that takes longer than a second of it is to blame."""
LEAST_OPEN_S: Final = 0.8
"""The shortest time that a breaker is open."""


class Replica(StandInService):
    """A replica with a mood."""

    module = "chaos_replica"

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        super().__init__(folder)
        assert isinstance(self._environment, dict)
        self._mood = self._environment[MOOD] = str(folder / "mood")
        self.be("good")

    def be(self, mood: str) -> None:
        """Changes its mood."""
        # In one step, since the replica reads it at any time.
        Path(f"{self._mood}.new").write_text(mood)
        Path(f"{self._mood}.new").rename(self._mood)

    def asked(self) -> int:
        """How many calls it has had, whatever came of them."""
        counts = self.counts()
        return sum(counts.get(each, 0) for each in ("begun", *STATUS))


class ReplicaMesh(Mesh):
    """A mesh whose service has two replicas."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.moody, self.good = (Replica(folder / name) for name in ("moody", "good"))
        self.service = self.moody
        ports = f"127.0.0.1:{self.moody.port},127.0.0.1:{self.good.port}"
        self.gateway.environment["MESH_GATEWAY_CLASSIFIER_TARGET"] = ports

    def __enter__(self) -> "ReplicaMesh":
        self.good.start()
        super().__enter__()
        until(lambda: self.serving() == 2, "two replicas that serve")
        return self

    def __exit__(self, *_: object) -> None:
        self.good.kill()
        super().__exit__()

    def serving(self) -> float:
        return self._metric("mesh_client_endpoints")

    def breakers(self, state: str) -> float:
        """How many circuit breakers are in a state."""
        return self._metric("mesh_client_breakers", f'mesh_breaker_state="{state}"')

    def _metric(self, name: str, label: str = "") -> float:
        lines = self.gateway.metrics().splitlines()
        ours = [line for line in lines if line.startswith(f"{name}{{") and "classifier" in line]
        found = [line for line in ours if label in line]
        return sum(float(line.split()[-1]) for line in found)

    def ask(self, text: str = "a") -> int:
        """Asks once and returns the status."""
        with self.client() as client:
            headers = {"x-request-timeout-ms": str(FAIR_MS)}
            answer = client.post(CLASSIFY, json={"texts": [text]}, headers=headers)
        return answer.status_code


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[ReplicaMesh]:
    with ReplicaMesh(tmp_path) as started:
        yield started


@pytest.mark.parametrize("mood", ["fault", "late"])
def test_a_bad_replica_leaves_the_rotation_until_it_heals(mesh: ReplicaMesh, mood: str) -> None:
    mesh.moody.be(f"half {mood}")
    statuses = []

    def opened() -> bool:
        statuses.append(mesh.ask())
        return mesh.breakers("closed") == 1

    until(opened, "the opening of the breaker")
    # Half of the calls to it, in a window of 20 at most, were bad, whatever the other one had.
    assert set(statuses) == {200, STATUS[mood]}
    assert mesh.breakers("open") + mesh.breakers("half_open") == 1

    mesh.moody.be(f"all {mood}")
    probed, began_s = mesh.moody.asked(), time.monotonic()
    statuses = [mesh.ask() for _ in range(100)]
    until(lambda: mesh.ask() == STATUS[mood], "a probe")
    statuses.append(STATUS[mood])
    probes = mesh.moody.asked() - probed
    assert set(statuses) == {200, STATUS[mood]}
    assert statuses.count(STATUS[mood]) == probes
    # Each time for twice as long as before.
    assert LEAST_OPEN_S * (2 ** (probes - 1) - 1) <= time.monotonic() - began_s
    assert mesh.breakers("closed") == 1

    mesh.moody.be("good")
    until(lambda: mesh.ask() == 200 and mesh.breakers("closed") == 2, "its return")
    asked = mesh.moody.asked()
    assert {mesh.ask() for _ in range(40)} == {200}
    assert 0 < mesh.moody.asked() - asked < 40


def test_a_request_that_every_replica_fails_on_opens_no_breaker(mesh: ReplicaMesh) -> None:
    assert {mesh.ask("fault") for _ in range(60)} == {500}
    assert min(mesh.moody.asked(), mesh.good.asked()) >= 20
    assert mesh.breakers("closed") == 2
    assert {mesh.ask() for _ in range(20)} == {200}
    assert mesh.breakers("closed") == 2
