"""The gateway and the services: one way to write them down, and what each value does."""

import pytest

from cases import MADE_UP
from rendering import (
    Object,
    environment_of,
    find,
    main_container,
    pod_of,
    render,
    settings_of,
)


@pytest.fixture(scope="module")
def two() -> list[Object]:
    """The chart with a second service, which is an entry in the values and nothing else."""
    return render({"services": {"forecaster": MADE_UP}})


def names(objects: list[Object], component: str) -> set[tuple[str, str]]:
    """The kinds and names of a component's objects, its own name left out of them."""
    return {
        (each["kind"], each["metadata"]["name"].replace(component, "*"))
        for each in objects
        if each["metadata"]["labels"]["app.kubernetes.io/component"] == component
    }


def test_another_service_is_an_entry_in_the_values(two: list[Object]) -> None:
    assert names(two, "forecaster") == names(two, "classifier")
    settings = settings_of(two, "mesh-forecaster")
    assert settings["MESH_FORECASTER_GRPC_PORT"] == "50066"
    assert settings["MESH_FORECASTER_HEALTH_PORT"] == "50161"
    container = main_container(two, "mesh-forecaster")
    assert container["image"] == "inference-mesh/forecaster:0.1.0"
    assert container["readinessProbe"]["grpc"] == {"port": 50161}
    gateway = settings_of(two, "mesh-gateway")
    assert gateway["MESH_GATEWAY_FORECASTER_TARGET"] == "dns:///mesh-forecaster:50066"


def test_a_service_without_a_model_fetches_none(two: list[Object]) -> None:
    pod = pod_of(two, "mesh-forecaster")
    assert "initContainers" not in pod
    assert {volume["name"] for volume in pod["volumes"]} == {"tmp"}
    assert "MESH_MODELS_PATH" not in settings_of(two, "mesh-forecaster")


def test_a_service_may_be_left_out_and_kept_from_the_gateway() -> None:
    objects = render(
        {
            "services": {
                "classifier": {"enabled": False},
                "embedder": {"enabled": False},
                "image-search": {**MADE_UP, "behindGateway": False},
            }
        }
    )
    assert not names(objects, "classifier")
    gateway = settings_of(objects, "mesh-gateway")
    assert not [key for key in gateway if key.endswith("_TARGET")]
    assert settings_of(objects, "mesh-image-search")["MESH_IMAGE_SEARCH_GRPC_PORT"] == "50066"


def test_a_value_of_a_service_wins_over_the_shared_ones() -> None:
    objects = render(
        {
            "defaults": {"replicas": 3, "disruption": {"enabled": True, "maxUnavailable": "25%"}},
            "serviceDefaults": {"replicas": 4},
            "services": {
                "classifier": {"replicas": 0, "disruption": {"enabled": False}},
                "embedder": {"enabled": False},
            },
        }
    )
    assert find(objects, "Deployment", "mesh-gateway")["spec"]["replicas"] == 3
    assert find(objects, "Deployment", "mesh-classifier")["spec"]["replicas"] == 0
    budgets = [each for each in objects if each["kind"] == "PodDisruptionBudget"]
    assert [(each["metadata"]["name"], each["spec"]["maxUnavailable"]) for each in budgets] == [
        ("mesh-gateway", "25%")
    ]


def test_the_probes_of_the_gateway(defaults: list[Object]) -> None:
    container = main_container(defaults, "mesh-gateway")
    paths = {
        kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")
    }
    assert {kind: probe["path"] for kind, probe in paths.items()} == {
        "startup": "/health",
        "readiness": "/ready",
        "liveness": "/health",
    }
    assert {probe["scheme"] for probe in paths.values()} == {"HTTP"}


def test_probes_speak_tls_where_the_gateway_does() -> None:
    tls = {"tls": {"door": {"enabled": True, "existingSecret": "door"}}}
    container = main_container(render(tls), "mesh-gateway")
    assert container["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"


def test_a_service_is_probed_at_its_plaintext_port_alone(defaults: list[Object]) -> None:
    container = main_container(defaults, "mesh-classifier")
    for kind in ("startup", "readiness", "liveness"):
        assert container[f"{kind}Probe"]["grpc"] == {"port": 50161}
    ports = find(defaults, "Service", "mesh-classifier")["spec"]["ports"]
    assert [port["name"] for port in ports] == ["grpc"]


def test_a_slow_answer_ends_no_process(defaults: list[Object]) -> None:
    for name in ("mesh-gateway", "mesh-classifier"):
        probe = main_container(defaults, name)["livenessProbe"]
        assert probe["timeoutSeconds"] >= 5
        assert probe["periodSeconds"] * probe["failureThreshold"] >= 60


def test_autoscaling_takes_the_number_of_pods_over() -> None:
    objects = render(
        {
            "services": {
                "classifier": {
                    "autoscaling": {
                        "enabled": True,
                        "minReplicas": 1,
                        "maxReplicas": 5,
                        "inFlight": {"target": 24},
                        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 15}},
                    }
                }
            }
        }
    )
    assert "replicas" not in find(objects, "Deployment", "mesh-classifier")["spec"]
    spec = find(objects, "HorizontalPodAutoscaler", "mesh-classifier")["spec"]
    assert spec["scaleTargetRef"]["name"] == "mesh-classifier"
    assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 5)
    cpu, in_flight = spec["metrics"]
    assert cpu["resource"]["target"] == {"type": "Utilization", "averageUtilization": 70}
    assert in_flight["pods"]["target"] == {"type": "AverageValue", "averageValue": "24"}
    assert spec["behavior"] == {"scaleDown": {"stabilizationWindowSeconds": 15}}


def test_a_gpu_is_a_limit_an_image_and_a_toleration() -> None:
    objects = render({"services": {"classifier": {"gpu": {"enabled": True, "count": 2}}}})
    pod = pod_of(objects, "mesh-classifier")
    (container,) = pod["containers"]
    assert container["image"] == "inference-mesh/classifier:0.1.0-gpu"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert container["resources"]["limits"]["memory"] == "1Gi"
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod[
        "tolerations"
    ]


def test_an_image_has_a_registry_a_tag_and_a_digest() -> None:
    digest = "sha256:" + "0" * 64
    objects = render(
        {
            "image": {"registry": "registry.example.com/team", "tag": "1.2.3"},
            "gateway": {"image": {"digest": digest}},
            "services": {"classifier": {"image": {"tag": "1.2.4"}}},
        }
    )
    gateway = main_container(objects, "mesh-gateway")["image"]
    assert gateway == f"registry.example.com/team/inference-mesh/gateway:1.2.3@{digest}"
    classifier = main_container(objects, "mesh-classifier")["image"]
    assert classifier == "registry.example.com/team/inference-mesh/classifier:1.2.4"
    assert main_container(objects, "mesh-redis")["image"].startswith("redis:")


def test_an_old_pod_stays_until_callers_have_found_the_new_one() -> None:
    for name in ("mesh-gateway", "mesh-classifier"):
        assert find(render(), "Deployment", name)["spec"]["minReadySeconds"] == 12


def test_pods_are_spread_and_leave_a_lost_node_soon() -> None:
    objects = render({"defaults": {"nodeLossSeconds": 20}})
    pod = pod_of(objects, "mesh-classifier")
    keys = [each["topologyKey"] for each in pod["topologySpreadConstraints"]]
    assert keys == ["kubernetes.io/hostname"]
    selected = pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]
    assert selected["app.kubernetes.io/component"] == "classifier"
    assert {each["key"]: each.get("tolerationSeconds") for each in pod["tolerations"]} == {
        "node.kubernetes.io/not-ready": 20,
        "node.kubernetes.io/unreachable": 20,
    }


def test_where_pods_run_is_a_value() -> None:
    values = {
        "priorityClassName": "serving",
        "runtimeClassName": "nvidia",
        "nodeSelector": {"kubernetes.io/arch": "arm64"},
        "affinity": {"nodeAffinity": {}},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "podAnnotations": {"a": "b"},
        "podLabels": {"c": "d"},
        "extraEnv": [{"name": "E", "value": "f"}],
        "extraVolumes": [{"name": "v", "configMap": {"name": "jwks"}}],
        "extraVolumeMounts": [{"name": "v", "mountPath": "/etc/jwks", "readOnly": True}],
    }
    objects = render({"gateway": values})
    pod = pod_of(objects, "mesh-gateway")
    for name in ("priorityClassName", "runtimeClassName", "nodeSelector", "affinity"):
        assert pod[name] == values[name]
    assert {"key": "dedicated", "operator": "Exists"} in pod["tolerations"]
    metadata = find(objects, "Deployment", "mesh-gateway")["spec"]["template"]["metadata"]
    assert metadata["annotations"]["a"] == "b"
    assert metadata["labels"]["c"] == "d"
    assert environment_of(pod["containers"][0])["E"] == "f"
    assert "v" in {volume["name"] for volume in pod["volumes"]}
    assert "/etc/jwks" in {each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}


def test_the_admin_port_is_no_caller_s(case: list[Object]) -> None:
    ports = find(case, "Service", "mesh-gateway")["spec"]["ports"]
    assert [port["name"] for port in ports] == ["http", "grpc"]
    assert 9080 not in {port["port"] for port in ports}
