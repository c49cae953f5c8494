"""A node that dies under load: what its callers see, and how long."""

import logging
import time

import pytest
from cluster.callers import Plan
from cluster.load import Load, Window
from cluster.mesh import Mesh
from cluster.nodes import Nodes

pytestmark = [pytest.mark.cluster, pytest.mark.full]

_log = logging.getLogger(__name__)

COMPONENTS = ("gateway", "classifier")
FAST_S = 3.0
"""In which a gateway notices that a replica is gone, and says so or asks another."""
EVICTED_WITHIN_S = 180.0


def test_a_node_that_dies(mesh: Mesh, load: Load, nodes: Nodes, plan: Plan) -> None:
    if not nodes.can_be_killed:
        pytest.skip("nothing says how to kill a node of this cluster")
    nodes.spread(mesh)
    lost = {name for each in COMPONENTS for name in mesh.ready_on(each, nodes.last)}
    window = Window(load)
    nodes.kill_last()
    mesh.until(lambda: whole(mesh, lost), "it is whole again", EVICTED_WITHIN_S)
    whole_s = time.monotonic() - window.began_s
    outcomes = window.close()
    again = Window(load)
    load.settle()
    again.nothing_failed()
    nodes.forget_last()

    failures = [each for each in outcomes if each.failed]
    _log.info("whole after %.0f s; failed: %d of %d", whole_s, len(failures), len(outcomes))
    _log.info(window.told(failures))

    assert all(each.ended_s - each.began_s < plan.timeout_s + 1 for each in outcomes)
    answered = [each for each in failures if each.status not in {"late", "refused", "broken"}]
    over_http = [each for each in answered if each.door == "http"]
    assert all(each.ended_s - each.began_s < FAST_S for each in over_http)
    assert max((each.ended_s for each in failures), default=0.0) < window.began_s + whole_s


def whole(mesh: Mesh, lost: set[str]) -> bool:
    """Whether as many pods are ready as before, none of them a lost one."""
    return all(len(set(mesh.ready(each)) - lost) == 2 for each in COMPONENTS)
