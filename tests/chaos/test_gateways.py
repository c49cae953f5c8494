"""Gateways that leave, under load and without retries of the callers."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_mesh import Mesh, trained_models

from chaos.callers import BROKEN, Callers

pytestmark = pytest.mark.full

CALLERS = 32


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Mesh]:
    """Two gateways before one classifier."""
    with Mesh(tmp_path, trained_models(), gateways=2, MESH_DRAIN_DELAY_S=2) as started:
        yield started


def test_one_that_is_told_to_stop_costs_nothing(mesh: Mesh) -> None:
    victim, _ = mesh.gateways
    ports = [each.port for each in mesh.gateways]
    with Callers(ports, mesh.key, CALLERS) as callers:
        victim.signal(signal.SIGTERM)
        assert victim.wait() == 0
        callers.more(5 * CALLERS)
        victim.start()
        callers.more(5 * CALLERS)
    assert set(callers.statuses) == {200}


def test_one_that_is_killed_costs_at_most_what_it_had(mesh: Mesh) -> None:
    victim, _ = mesh.gateways
    ports = [each.port for each in mesh.gateways]
    with Callers(ports, mesh.key, CALLERS) as callers:
        victim.kill()
        callers.more(10 * CALLERS)
    assert set(callers.statuses) <= {200, BROKEN}
    assert callers.statuses[BROKEN] <= CALLERS
