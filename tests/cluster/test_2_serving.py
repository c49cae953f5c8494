"""A fresh mesh of the current chart serves, and its pods may do no more than they need."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cluster.callers import Plan
from cluster.clusters import objects
from cluster.load import Load, Window
from cluster.mesh import Mesh
from cluster.models import Models

pytestmark = [pytest.mark.cluster, pytest.mark.full]

COMPONENTS = ("gateway", "classifier")


def running(mesh: Mesh) -> list[tuple[str, str]]:
    """Every container that runs, by the name of its pod and its own."""
    return [
        (pod["metadata"]["name"], status["name"])
        for pod in objects(mesh.kubectl("get", "pods", "--output=json"))
        for kind in ("containerStatuses", "initContainerStatuses")
        for status in pod["status"].get(kind, [])
        if "running" in status["state"]
    ]


def test_every_pod_is_ready(mesh: Mesh) -> None:
    for component in COMPONENTS:
        mesh.rolled_out(component)
        assert len(mesh.ready(component)) == 2


def test_helm_test_passes(mesh: Mesh) -> None:
    assert "Succeeded" in mesh.helm("test", mesh.release, "--logs")


def test_both_doors_answer(load: Load, models: Models) -> None:
    window = Window(load)
    answered = window.close()
    assert {each.door for each in answered} == {"http", "grpc"}
    assert {each.status for each in answered} == {"200", "OK"}
    assert {each.version for each in answered} == {models.production}


def test_a_key_opens_the_doors_until_it_is_revoked(mesh: Mesh, plan: Plan, tmp_path: Path) -> None:
    key = mesh.mesh("keys", "create", "short-lived", "--scope=classifier").strip()
    own = replace(plan, key=key, http_callers=1, grpc_callers=1)
    with Load(mesh.cluster, own, tmp_path / "load.log") as callers:
        assert {each.status for each in callers.outcomes} == {"200", "OK"}
        mesh.mesh("keys", "revoke", key.split("_")[1])
        refused = {"401", "UNAUTHENTICATED"}
        callers.until(
            lambda: refused <= {each.status for each in callers.outcomes}, "both doors refuse it"
        )


def test_the_processes_have_no_rights(mesh: Mesh) -> None:
    containers = running(mesh)
    assert len(containers) >= 5
    for pod, container in containers:
        script = "cat /proc/1/status; touch /written 2>&1; true"
        said = mesh.kubectl("exec", pod, f"--container={container}", "--", "sh", "-c", script)
        status = dict(re.findall(r"^(\w+):\s*(.*)$", said, re.MULTILINE))
        who = f"{pod}, {container}"
        assert "0" not in status["Uid"].split(), who
        assert "0" not in status["Gid"].split(), who
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[kind], 16) == 0, f"{who}: {kind}"
        assert status["NoNewPrivs"] == "1", who
        assert "Read-only file system" in said, who


def test_thread_pools_have_the_size_of_the_cpu_limit(mesh: Mesh) -> None:
    for component in COMPONENTS:
        for pod in mesh.pods(component):
            limit = container_of(pod, component)["resources"]["limits"]["cpu"]
            assert limit == "1"
            name = pod["metadata"]["name"]
            assert mesh.metric(component, name, "mesh_cpu_threads") == 1


def container_of(pod: dict[str, Any], component: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = [
        each for each in pod["spec"]["containers"] if each["name"] == component
    ]
    return found[0]
