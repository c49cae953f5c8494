"""The large language model: what sets it apart from other services is in its values alone."""

from typing import Any

import pytest

from cases import rendered
from rendering import (
    Object,
    environment_of,
    find,
    kinds,
    main_container,
    pod_of,
    render,
    settings_of,
)

NAME = "mesh-llm"


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    """A mesh with an llm on CPUs."""
    return rendered("an llm")


def with_llm(**values: Any) -> list[Object]:
    """A mesh with an llm that has these values."""
    return render({"services": {"llm": {"enabled": True, **values}}})


def volumes(objects: list[Object]) -> dict[str, Object]:
    """The volumes of its pods, by their names."""
    return {volume["name"]: volume for volume in pod_of(objects, NAME)["volumes"]}


def mounts(objects: list[Object]) -> dict[str, Object]:
    """What its process has mounted, by the place."""
    found = main_container(objects, NAME)["volumeMounts"]
    return {each["mountPath"]: each for each in found}


def test_there_is_none_unless_it_is_chosen(defaults: list[Object]) -> None:
    assert not [each for each in defaults if each["metadata"]["name"].startswith(NAME)]
    assert "MESH_GATEWAY_LLM_TARGET" not in settings_of(defaults, "mesh-gateway")


def test_the_gateway_finds_it(objects: list[Object]) -> None:
    target = settings_of(objects, "mesh-gateway")["MESH_GATEWAY_LLM_TARGET"]
    assert target == "dns:///mesh-llm:50062"
    assert find(objects, "Service", NAME)["spec"]["clusterIP"] == "None"


def test_it_has_the_minutes_that_a_start_takes(objects: list[Object]) -> None:
    probe = main_container(objects, NAME)["startupProbe"]
    assert probe["grpc"] == {"port": 50161}
    patience_s = probe["periodSeconds"] * probe["failureThreshold"]
    assert patience_s >= 1200
    assert find(objects, "Deployment", NAME)["spec"]["progressDeadlineSeconds"] > patience_s


def test_it_fetches_a_model_once_and_follows_no_promotion(objects: list[Object]) -> None:
    pod = pod_of(objects, NAME)
    assert [each["name"] for each in pod["initContainers"]] == ["fetch"]
    told = environment_of(pod["initContainers"][0])
    assert told["MESH_FETCH_MODEL"] == "llm"
    assert mounts(objects)["/models"]["readOnly"] is True
    assert settings_of(objects, NAME)["MESH_MODELS_PATH"] == "/models"
    assert volumes(objects)["models"]["emptyDir"] == {"sizeLimit": "4Gi"}
    large = with_llm(model={"size": "40Gi"})
    assert volumes(large)["models"]["emptyDir"] == {"sizeLimit": "40Gi"}


def test_its_processes_share_memory_and_write_to_tmp(objects: list[Object]) -> None:
    assert volumes(objects)["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Gi"}
    assert mounts(objects)["/dev/shm"]["name"] == "shm"
    assert volumes(objects)["tmp"]["emptyDir"] == {"sizeLimit": "2Gi"}
    assert main_container(objects, NAME)["securityContext"]["readOnlyRootFilesystem"] is True


def test_it_and_the_gateway_finish_their_streams(objects: list[Object]) -> None:
    assert settings_of(objects, NAME)["MESH_LLM_DRAIN_TIMEOUT_S"] == "600"
    for name in (NAME, "mesh-gateway"):
        assert pod_of(objects, name)["terminationGracePeriodSeconds"] == 615
    assert settings_of(objects, "mesh-gateway")["MESH_GATEWAY_DRAIN_TIMEOUT_S"] == "600"
    assert pod_of(objects, "mesh-classifier")["terminationGracePeriodSeconds"] == 45


def test_the_gateway_s_own_word_on_its_drain_holds() -> None:
    objects = render(
        {
            "gateway": {"settings": {"drain_timeout_s": 60}},
            "services": {"llm": {"enabled": True}},
        }
    )
    assert settings_of(objects, "mesh-gateway")["MESH_GATEWAY_DRAIN_TIMEOUT_S"] == "60"
    assert pod_of(objects, "mesh-gateway")["terminationGracePeriodSeconds"] == 75
    apart = with_llm(behindGateway=False)
    assert pod_of(apart, "mesh-gateway")["terminationGracePeriodSeconds"] == 45


def test_on_a_gpu_it_has_an_image_a_limit_and_a_toleration() -> None:
    objects = with_llm(gpu={"enabled": True, "count": 2})
    pod = pod_of(objects, NAME)
    (container,) = pod["containers"]
    assert container["image"] == "inference-mesh/llm:0.1.0-gpu"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 2
    gpu = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    assert gpu in pod["tolerations"]


def test_a_model_of_the_hub_goes_to_a_volume_of_its_own() -> None:
    objects = with_llm(
        settings={"model_uri": "hf://Qwen/Qwen2.5-7B-Instruct"}, model={"size": "40Gi"}
    )
    assert "initContainers" not in pod_of(objects, NAME)
    settings = settings_of(objects, NAME)
    assert settings["MESH_LLM_MODEL_URI"] == "hf://Qwen/Qwen2.5-7B-Instruct"
    assert settings["HF_HOME"] == "/models"
    assert "MESH_MODELS_PATH" not in settings
    assert mounts(objects)["/models"]["readOnly"] is False
    assert volumes(objects)["models"]["emptyDir"] == {"sizeLimit": "40Gi"}
    policy = find(objects, "NetworkPolicy", NAME)["spec"]["egress"]
    assert {"ports": [{"port": 443}]} in policy


def test_before_an_upstream_it_has_no_model_and_reaches_what_it_is_told() -> None:
    rule = {"to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}], "ports": [{"port": 443}]}
    objects = with_llm(
        settings={"engine": "remote", "upstream_url": "https://api.example.com/v1"},
        extraEnv=[
            {
                "name": "MESH_LLM_UPSTREAM_KEY",
                "valueFrom": {"secretKeyRef": {"name": "upstream", "key": "key"}},
            }
        ],
        egress=[rule],
    )
    assert "initContainers" not in pod_of(objects, NAME)
    assert "models" not in volumes(objects)
    assert rule in find(objects, "NetworkPolicy", NAME)["spec"]["egress"]
    key = environment_of(main_container(objects, NAME))["MESH_LLM_UPSTREAM_KEY"]
    assert key == {"secretKeyRef": {"name": "upstream", "key": "key"}}


def test_it_is_scaled_by_what_waits_and_keeps_one_through_a_drain() -> None:
    objects = with_llm(autoscaling={"enabled": True, "minReplicas": 1, "maxReplicas": 4})
    (metric,) = find(objects, "HorizontalPodAutoscaler", NAME)["spec"]["metrics"]
    assert metric["pods"]["metric"] == {"name": "vllm_num_requests_waiting"}
    assert metric["pods"]["target"] == {"type": "AverageValue", "averageValue": "4"}
    assert find(objects, "PodDisruptionBudget", NAME)["spec"]["maxUnavailable"] == 1
    assert "PodDisruptionBudget" in kinds(objects)


def test_it_writes_into_the_ledger_and_reaches_no_other_redis(objects: list[Object]) -> None:
    told = environment_of(main_container(objects, NAME))
    gateway = environment_of(main_container(objects, "mesh-gateway"))
    for name in ("MESH_REDIS_URL", "REDIS_PASSWORD"):
        assert told[name] == gateway[name]
    reached = find(objects, "NetworkPolicy", NAME)["spec"]["egress"]
    assert [rule["ports"] for rule in reached if rule["ports"] == [{"port": 6379}]]
    (rule,) = find(objects, "NetworkPolicy", "mesh-redis")["spec"]["ingress"]
    callers = [
        each["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for each in rule["from"]
    ]
    assert callers == ["gateway", "embedder", "llm", "test"]
    # A service that is not metered has no password.
    assert "env" not in main_container(objects, "mesh-classifier")


def test_the_ledger_s_redis_may_have_an_authority_of_its_own() -> None:
    objects = rendered("production")
    assert volumes(objects)["redis-ca"]["secret"]["secretName"] == "redis-ca"
    assert mounts(objects)["/etc/mesh/redis-ca"]["readOnly"] is True
    told = environment_of(main_container(objects, NAME))
    assert "limits.example.com:6380" in told["MESH_LIMITS_REDIS_URL"]
    assert "hashing-key" not in volumes(objects)
