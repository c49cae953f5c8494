"""The classifier grows with its load, and evictions leave it enough."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from cluster.callers import Plan
from cluster.clusters import CommandFailed
from cluster.load import Load, Window
from cluster.mesh import CHART, Mesh

pytestmark = [pytest.mark.cluster, pytest.mark.full]

_log = logging.getLogger(__name__)

AUTOSCALING = {
    "services": {
        "classifier": {
            "autoscaling": {
                "enabled": True,
                "minReplicas": 1,
                "maxReplicas": 3,
                # Of a request of 120m: twice what the load of all tests takes, and much less than a
                # pod gets on a machine that has little time for it.
                "cpuPercent": 150,
                # In production it waits for minutes before it takes replicas away.
                "behavior": {
                    "scaleUp": {"stabilizationWindowSeconds": 0},
                    "scaleDown": {"stabilizationWindowSeconds": 15},
                },
            }
        }
    }
}


def test_the_classifier_grows_under_load_and_shrinks_after(
    mesh: Mesh, load: Load, plan: Plan, tmp_path: Path
) -> None:
    window = Window(load)
    try:
        mesh.install(CHART, AUTOSCALING)
        mesh.until(lambda: len(mesh.pods("classifier")) == 1, "one is enough")
        heavy = replace(plan, http_callers=8, grpc_callers=0, pause_s=0.0, texts=8, timeout_s=60.0)
        with Load(mesh.cluster, heavy, tmp_path / "heavy.log"):
            took_s = mesh.until(lambda: len(mesh.ready("classifier")) > 1, "more under load")
        _log.info("two classifiers %.0f s after the load began", took_s)
        took_s = mesh.until(lambda: len(mesh.pods("classifier")) == 1, "one again")
        _log.info("one classifier %.0f s after it ended", took_s)
    finally:
        mesh.install(CHART)
    window.nothing_failed()


def test_an_eviction_that_leaves_too_few_is_refused(mesh: Mesh, load: Load) -> None:
    first, second = mesh.ready("classifier")
    window = Window(load)
    evict(mesh, first)
    with pytest.raises(CommandFailed, match="disruption budget"):
        evict(mesh, second)
    mesh.until(lambda: len(mesh.ready("classifier")) == 2, "two classifiers again")
    assert second in mesh.ready("classifier")
    window.nothing_failed()


def evict(mesh: Mesh, pod: str) -> None:
    metadata = {"name": pod, "namespace": mesh.namespace}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    path = f"/api/v1/namespaces/{mesh.namespace}/pods/{pod}/eviction"
    mesh.kubectl("create", "--raw", path, "--filename=-", text=json.dumps(eviction))
