"""What holds for every object, whatever the values."""

import json

import kubernetes_validate
import pytest

from cases import CASES, rendered
from rendering import Object, containers, pods, render

VERSIONS = ("1.33", "1.34", "1.35", "1.36", "1.37")
# Defined by others, so the schemas of Kubernetes have none of them.
OTHERS = {
    "Certificate",
    "GRPCRoute",
    "HTTPRoute",
    "PrometheusRule",
    "ServiceMonitor",
}
LABELS = {"name", "instance", "version", "component", "part-of", "managed-by"}


@pytest.fixture(scope="module")
def distinct() -> list[Object]:
    """What the cases render, each object that several have in common once."""
    every = [each for name in CASES for each in rendered(name)]
    return list({json.dumps(_without_secrets(each)): each for each in every}.values())


def _without_secrets(each: Object) -> Object:
    return {**each, "data": None} if each["kind"] == "Secret" else each


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_field(distinct: list[Object], version: str) -> None:
    known = [each for each in distinct if each["kind"] not in OTHERS]
    assert len(known) > 50
    for each in known:
        kubernetes_validate.validate(each, version, strict=True)


def test_every_object_has_the_recommended_labels(case: list[Object]) -> None:
    for each in case:
        labels = each["metadata"]["labels"]
        assert {f"app.kubernetes.io/{name}" for name in LABELS} <= set(labels), each["kind"]
        assert labels["app.kubernetes.io/name"] == "inference-mesh"
        assert labels["app.kubernetes.io/instance"] == "mesh"
        assert each["metadata"]["namespace"] == "default"


def test_no_two_objects_share_a_kind_and_a_name(case: list[Object]) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in case]
    assert len(set(names)) == len(names)


def test_nothing_is_made_that_an_upgrade_could_not_change(case: list[Object]) -> None:
    # A Job is never changed, a StatefulSet in few fields only.
    assert not {each["kind"] for each in case} & {"Job", "StatefulSet"}


def test_every_pod_is_as_restricted_as_a_pod_can_be(case: list[Object]) -> None:
    for name, pod in pods(case).items():
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert (security["runAsUser"], security["runAsGroup"]) == (10001, 10001), name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        assert not pod.get("hostNetwork"), name
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, (name, container["name"])


def test_every_container_says_what_it_needs_and_is_bounded(case: list[Object]) -> None:
    for name, pod in pods(case).items():
        for container in containers(pod):
            resources = container["resources"]
            assert {"cpu", "memory"} <= set(resources["requests"]), (name, container["name"])
            if "classifier" in name or "gateway" in name or "redis" in name:
                assert "memory" in resources["limits"], (name, container["name"])


def test_no_service_becomes_a_variable_of_a_pod(case: list[Object]) -> None:
    # MESH_GATEWAY_PORT=tcp://... of a Service would be an unknown setting, and stop the start.
    assert all(pod["enableServiceLinks"] is False for pod in pods(case).values())


def test_every_writable_folder_is_a_volume_of_bounded_size(case: list[Object]) -> None:
    for name, pod in pods(case).items():
        for volume in pod["volumes"]:
            if "emptyDir" in volume and "redis" not in name:
                assert volume["emptyDir"]["sizeLimit"], (name, volume["name"])
        mounted = {mount["name"] for each in containers(pod) for mount in each["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}, name


def test_a_selector_is_the_name_the_instance_and_the_component(case: list[Object]) -> None:
    wanted = {f"app.kubernetes.io/{name}" for name in ("name", "instance", "component")}
    found = []
    for each in case:
        spec = each.get("spec", {})
        if each["kind"] == "Service":
            found.append(spec["selector"])
        elif each["kind"] in ("Deployment", "PodDisruptionBudget"):
            found.append(spec["selector"]["matchLabels"])
    assert len(found) >= 6
    assert all(set(selector) == wanted for selector in found)


def test_what_a_selector_wants_its_pods_have(case: list[Object]) -> None:
    labels = [
        each["spec"]["template"]["metadata"]["labels"]
        for each in case
        if each["kind"] == "Deployment"
    ]
    for each in case:
        if each["kind"] == "Service":
            selector = each["spec"]["selector"].items()
            assert sum(selector <= pod.items() for pod in labels) == 1, each["metadata"]["name"]


@pytest.mark.parametrize("name", ["defaults", "production"])
def test_another_release_beside_it_shares_no_name_and_no_pod(name: str) -> None:
    here, there = render(CASES[name]), render(CASES[name], release="other")
    assert not {each["metadata"]["name"] for each in here} & {
        each["metadata"]["name"] for each in there
    }
