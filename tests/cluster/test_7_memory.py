"""All those tests were load: what it took of the memory."""

import time

import pytest
from cluster.clusters import objects
from cluster.load import Load
from cluster.memory import MemoryWatch
from cluster.mesh import Mesh

pytestmark = [pytest.mark.cluster, pytest.mark.full]

LOAD_S = 600.0


def test_memory_stays_below_its_limit(mesh: Mesh, load: Load, memory: MemoryWatch) -> None:
    """Runs last of those with load, and waits only for what is missing of ten minutes."""
    load.until(lambda: time.monotonic() > load.began_s + LOAD_S, "ten minutes of load", LOAD_S)
    assert memory.samples >= 30
    watched = {container for _, container in memory.most_bytes}
    assert {"gateway", "classifier", "follow", "redis"} <= watched
    for container, most in memory.most_bytes.items():
        assert most < 0.9 * memory.limit_bytes[container], container
    for pod in objects(mesh.kubectl("get", "pods", "--output=json")):
        for status in pod["status"]["containerStatuses"]:
            assert status["restartCount"] == 0, status
