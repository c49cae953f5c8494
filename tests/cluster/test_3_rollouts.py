"""What an operator does to a mesh on an ordinary day costs its callers nothing."""

import logging
import time

import pytest
from cluster.images import Images
from cluster.load import Load, Window
from cluster.mesh import CHART, Mesh
from cluster.nodes import Nodes

pytestmark = [pytest.mark.cluster, pytest.mark.full]

_log = logging.getLogger(__name__)

COMPONENTS = ("classifier", "gateway")
SHARE_WITHIN_S = 40.0


def test_upgrade_to_another_image(mesh: Mesh, load: Load, built: Images) -> None:
    before = {name for each in COMPONENTS for name in mesh.ready(each)}
    window = Window(load)
    mesh.install(CHART, {"image": {"tag": built.next_tag}})
    for each in COMPONENTS:
        mesh.rolled_out(each)
        assert before.isdisjoint(mesh.ready(each))
    window.nothing_failed()


@pytest.mark.parametrize("component", COMPONENTS)
def test_restart(mesh: Mesh, load: Load, component: str) -> None:
    before = set(mesh.ready(component))
    window = Window(load)
    mesh.kubectl("rollout", "restart", f"deploy/{mesh.name(component)}")
    mesh.rolled_out(component)
    window.nothing_failed()
    assert before.isdisjoint(mesh.ready(component))


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_pod_that_is_deleted(mesh: Mesh, load: Load, component: str) -> None:
    victim = mesh.ready(component)[0]
    window = Window(load)
    mesh.kubectl("delete", "pod", victim)
    mesh.until(lambda: len(mesh.ready(component)) == 2, f"two {component}s again")
    window.nothing_failed()
    assert victim not in mesh.ready(component)


def test_scaling_the_classifier(mesh: Mesh, load: Load) -> None:
    mesh.scale("classifier", 1)
    window = Window(load)
    mesh.kubectl("scale", f"deploy/{mesh.name('classifier')}", "--replicas=3")
    began_s = time.monotonic()
    mesh.until(lambda: len(mesh.ready("classifier")) == 3, "three classifiers")
    took_s = mesh.until(lambda: fair(mesh), "each has its share", SHARE_WITHIN_S)
    ready_s = time.monotonic() - began_s - took_s
    _log.info("ready after %.0f s, their share %.0f s later", ready_s, took_s)
    mesh.scale("classifier", 1)
    window.nothing_failed()
    mesh.scale("classifier", 2)


def fair(mesh: Mesh) -> bool:
    """Whether each classifier now answers half of what would be its fair share at least."""
    before = mesh.answered()
    time.sleep(2)
    after = mesh.answered()
    new = [after[pod] - before.get(pod, after[pod]) for pod in after]
    return min(new) >= sum(new) / len(new) / 2 > 0


def test_scaling_the_gateway(mesh: Mesh, load: Load) -> None:
    window = Window(load)
    for replicas in (1, 3, 1, 2):
        mesh.scale("gateway", replicas)
    window.nothing_failed()


def test_a_node_that_is_drained(mesh: Mesh, load: Load, nodes: Nodes) -> None:
    nodes.spread(mesh)
    window = Window(load)
    mesh.kubectl(
        "drain", nodes.last, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=240s"
    )
    for each in COMPONENTS:
        mesh.until(lambda each=each: len(mesh.ready(each)) == 2, f"two {each}s")  # type: ignore[misc]  # mypy sees no default in a lambda
        assert nodes.last not in mesh.nodes(each)
    window.nothing_failed()
    mesh.kubectl("uncordon", nodes.last)
