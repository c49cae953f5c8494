"""A gateway whose log nobody takes: a full disk, and a pipe that nobody reads."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from processes import Gateway, Mesh, until

pytestmark = pytest.mark.full

CLASSIFY: Final = "/v1/classify"
BODY: Final = {"texts": ["a"]}
LONG: Final = {"x-request-id": "x" * 128}
CAPACITY: Final = 64


class UnheardGateway(Gateway):
    """A gateway that writes to a full disk, or to a pipe that nobody reads."""

    out = -1

    def launch(self) -> "UnheardGateway":
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdout=self.out, stderr=self.out
        )
        return self

    def dropped(self) -> float:
        """How many lines of the access log were lost."""
        found = re.search(r"^mesh_access_log_dropped_total\S* (\S+)$", self.metrics(), re.MULTILINE)
        return float(found[1]) if found else 0.0


class UnheardMesh(Mesh):
    gateway: UnheardGateway
    gateway_type = UnheardGateway


@pytest.fixture(params=["full disk", "full pipe"])
def mesh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[UnheardMesh]:
    made = UnheardMesh(tmp_path, MESH_GATEWAY_ACCESS_LOG_CAPACITY=CAPACITY)
    reader = -1
    if request.param == "full disk":
        made.gateway.out = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, made.gateway.out = os.pipe()
    with made:
        yield made
    for end in (made.gateway.out, reader):
        if end >= 0:
            os.close(end)


def test_it_serves_on_and_counts_what_is_lost(mesh: UnheardMesh) -> None:
    gateway = mesh.gateway
    with mesh.client() as client:

        def lose() -> bool:
            assert client.post(CLASSIFY, json=BODY, headers=LONG).status_code == 200
            return gateway.dropped() > 2 * CAPACITY

        until(lose, "the loss of more lines than may wait")
        # What the process itself has to say is lost, too, and stops nothing.
        mesh.redis.kill()
        until(lambda: gateway.state()["key_store"] == "unavailable", "the notice")
        mesh.service.kill()
        until(lambda: gateway.backend("classifier") == "unavailable", "the notice")
        for _ in range(200):
            assert client.post(CLASSIFY, json=BODY).status_code == 503
        mesh.redis.start()
        mesh.service.start()
        until(lambda: client.post(CLASSIFY, json=BODY).status_code == 200, "the return")
    gateway.signal(signal.SIGTERM)
    assert gateway.wait() == 0
