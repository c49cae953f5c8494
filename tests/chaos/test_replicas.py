"""Replicas of the classifier that are killed, stopped and rolled, under load and without retries of
the callers."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_mesh import Mesh, Server, trained_models

from chaos.callers import Callers

pytestmark = pytest.mark.full

CALLERS = 32
DEADLINE_S = 10.0
"""That of `/v1/classify`, as a caller gets it that says nothing."""
BACK_S = 5.0


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Mesh]:
    """Two replicas of the classifier behind one gateway."""
    with Mesh(tmp_path, trained_models(), classifiers=2, MESH_DRAIN_DELAY_S=2) as started:
        yield started


def serving(mesh: Mesh) -> float:
    return mesh.gateway.metric("mesh_client_endpoints", mesh_target="classifier")


def answered(classifier: Server) -> float:
    """How many calls a replica has answered."""
    return classifier.metric("rpc_server_call_duration_seconds_count")


def test_one_that_is_killed_costs_at_most_what_it_had(mesh: Mesh) -> None:
    victim = mesh.classifiers[0]
    with Callers([mesh.port], mesh.key, CALLERS) as callers:
        victim.kill()
        callers.more(10 * CALLERS)
        victim.start()
        mesh.until(lambda: serving(mesh) == 2, "the replica is serving again")
        before = answered(victim)
        took_s = callers.until(lambda: answered(victim) > before, "it has its share again")
        callers.more(2 * CALLERS)
    assert took_s < BACK_S
    assert set(callers.statuses) <= {200, 503}
    # Each caller has one request in flight: those that the replica had, and that were not repeated.
    assert callers.statuses[503] <= CALLERS
    lost = [each for each in callers.outcomes if each.status == 503]
    assert {each.body["reason"] for each in lost} <= {"CONNECTION_LOST", "UNAVAILABLE"}
    assert max(each.elapsed_s for each in callers.outcomes) < DEADLINE_S


def test_one_that_hangs_leaves_the_rotation(mesh: Mesh) -> None:
    victim = mesh.classifiers[0]
    with Callers([mesh.port], mesh.key, CALLERS) as callers:
        victim.signal(signal.SIGSTOP)
        stopped_s = time.monotonic()
        callers.until(lambda: serving(mesh) == 1, "it is out of the rotation")
        out_s = time.monotonic()
        callers.until(lambda: callers.since(out_s) != [], "requests go on")
        after = callers.more(10 * CALLERS)
        victim.signal(signal.SIGCONT)
        mesh.until(lambda: serving(mesh) == 2, "it is back")
        before = answered(victim)
        callers.until(lambda: answered(victim) > before, "it has its share again")
    assert out_s - stopped_s < BACK_S
    assert set(callers.statuses) <= {200, 503, 504}
    assert {each.status for each in after if each.began_s > out_s} == {200}
    assert max(each.elapsed_s for each in callers.outcomes) < DEADLINE_S + 1


def test_one_that_is_told_to_stop_costs_nothing(mesh: Mesh) -> None:
    victim = mesh.classifiers[0]
    with Callers([mesh.port], mesh.key, CALLERS) as callers:
        victim.signal(signal.SIGTERM)
        assert victim.wait() == 0
        callers.more(5 * CALLERS)
        victim.start()
        mesh.until(lambda: serving(mesh) == 2, "it is back")
        before = answered(victim)
        callers.until(lambda: answered(victim) > before, "it has its share again")
    assert set(callers.statuses) == {200}
