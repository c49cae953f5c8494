"""An upgrade changes no field that Kubernetes keeps, and starts only what it has to."""

from typing import Any

import pytest

from rendering import Object, find, render, template_of

UPGRADES: list[dict[str, Any]] = [
    {"image": {"tag": "9.9.9"}},
    {"commonLabels": {"team": "search", "app.kubernetes.io/custom": "x"}},
    {"settings": {"log_level": "debug"}},
    {"defaults": {"podLabels": {"a": "b"}, "replicas": 5}},
    {"gateway": {"service": {"type": "NodePort"}}},
    {"redis": {"persistence": {"size": "4Gi"}}},
]


@pytest.mark.parametrize("values", UPGRADES, ids=lambda each: next(iter(each)))
def test_no_immutable_field_changes(defaults: list[Object], values: dict[str, Any]) -> None:
    after = render(values)
    for each in defaults:
        later = find(after, each["kind"], each["metadata"]["name"])
        if each["kind"] == "Deployment":
            assert later["spec"]["selector"] == each["spec"]["selector"]
        elif each["kind"] == "Service":
            assert later["spec"].get("clusterIP") == each["spec"].get("clusterIP")
            assert later["spec"]["selector"] == each["spec"]["selector"]
        elif each["kind"] == "PersistentVolumeClaim":
            kept = [{**spec["spec"], "resources": None} for spec in (each, later)]
            assert kept[0] == kept[1]


@pytest.mark.parametrize("values", UPGRADES, ids=lambda each: next(iter(each)))
def test_redis_is_not_started_again(defaults: list[Object], values: dict[str, Any]) -> None:
    assert template_of(render(values), "mesh-redis") == template_of(defaults, "mesh-redis")


def test_a_changed_setting_starts_the_processes_that_read_it(defaults: list[Object]) -> None:
    after = render({"services": {"classifier": {"settings": {"max_texts": 8}}}})
    assert template_of(after, "mesh-classifier") != template_of(defaults, "mesh-classifier")
    assert template_of(after, "mesh-gateway") == template_of(defaults, "mesh-gateway")
    shared = render({"settings": {"log_level": "debug"}})
    for name in ("mesh-gateway", "mesh-classifier"):
        assert template_of(shared, name) != template_of(defaults, name)


def test_the_same_values_render_the_same_pods() -> None:
    # Passwords that are made anew by each rendering must not reach the pods.
    first, second = render(), render()
    assert find(first, "Secret", "mesh-redis") != find(second, "Secret", "mesh-redis")
    for name in ("mesh-gateway", "mesh-classifier", "mesh-redis"):
        assert template_of(first, name) == template_of(second, name)


def test_a_rollout_keeps_every_pod_until_its_successor_serves(defaults: list[Object]) -> None:
    for name in ("mesh-gateway", "mesh-classifier"):
        strategy = find(defaults, "Deployment", name)["spec"]["strategy"]
        assert strategy["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_an_uninstall_keeps_what_can_not_be_made_again(defaults: list[Object]) -> None:
    kept = {
        (each["kind"], each["metadata"]["name"])
        for each in defaults
        if each["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
    }
    assert kept == {
        ("Secret", "mesh-hashing-key"),
        ("Secret", "mesh-redis"),
        ("PersistentVolumeClaim", "mesh-redis"),
    }


def test_the_test_is_a_hook_that_leaves_nothing_behind(defaults: list[Object]) -> None:
    annotations = find(defaults, "Pod", "mesh-test")["metadata"]["annotations"]
    assert annotations["helm.sh/hook"] == "test"
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
