"""What the processes are told: names that they know, and values as they read them."""

import json
import re
from typing import Any

import pytest

from rendering import (
    CHART,
    ROOT,
    Object,
    environment_of,
    main_container,
    pod_of,
    render,
    settings_of,
)

READMES = {
    "gateway": "gateway/README.md",
    "classifier": "services/classifier/README.md",
    "embedder": "services/embedder/README.md",
    "llm": "services/llm/README.md",
}
# What the chart says itself, so that values can't contradict it, and what is secret (extraEnv).
OWNED = re.compile(
    r"(bind_address|.*_port|.*_target|.*redis_url|hashing_key_path|replicas|.*_path"
    r"|alias|model_version|upstream_key)"
)
# Of what is not everywhere.
OPTIONAL = {"llm"}


def known(process: str) -> set[str]:
    """Every variable that a process knows, by the table of its README."""
    table = (ROOT / READMES[process]).read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`MESH_.*?) \|", table, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(MESH_\w+)`", row)}


def has(objects: list[Object], process: str) -> bool:
    """Whether a process is installed."""
    return ("ConfigMap", f"mesh-{process}") in {
        (each["kind"], each["metadata"]["name"]) for each in objects
    }


def own_settings(process: str) -> set[str]:
    """The names, in small letters and without a prefix, that are not the chart's own to say."""
    prefix = f"MESH_{process.upper()}_"
    names = {name.removeprefix(prefix).lower() for name in known(process) if prefix in name}
    return {name for name in names if not OWNED.fullmatch(name)}


def shared_settings(process: str) -> set[str]:
    """Those of them that may be said for all processes at once, by a name without a prefix."""
    prefix = f"MESH_{process.upper()}_"
    names = {name.removeprefix("MESH_").lower() for name in known(process) if prefix not in name}
    return names & own_settings(process)


@pytest.mark.parametrize("process", READMES)
def test_the_processes_know_every_variable(case: list[Object], process: str) -> None:
    if process in OPTIONAL and not has(case, process):
        return
    told = environment_of({"env": [], **main_container(case, f"mesh-{process}")})
    names = {*settings_of(case, f"mesh-{process}"), *told}
    variables = {name for name in names if name.startswith("MESH_")}
    # Of the made-up service the gateway knows nothing.
    assert variables - known(process) <= {"MESH_GATEWAY_FORECASTER_TARGET"}


def test_the_schema_has_every_setting_of_the_processes() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    definitions = schema["definitions"]
    gateway = definitions["gateway"]["properties"]["settings"]["properties"]
    assert set(gateway) == own_settings("gateway")
    shared = set.intersection(*map(shared_settings, READMES))
    assert set(schema["properties"]["settings"]["properties"]) == shared
    for service in (each for each in READMES if each != "gateway"):
        own = definitions[service]["allOf"][1]["properties"]["settings"]["properties"]
        assert set(own) == own_settings(service)
        assert shared <= set(gateway) & set(own)


def test_a_value_is_written_as_it_was_given() -> None:
    objects = render(
        {
            "settings": {"max_message_bytes": 16777216, "trace_sample_ratio": 0.25},
            "gateway": {
                "settings": {
                    "access_log": False,
                    "key_rate": "600/m:50",
                    "jwt_algorithms": ["RS256", "ES256"],
                    "stream_idle_timeout_s": 0.5,
                }
            },
            "env": {"TZ": "UTC"},
        }
    )
    settings = settings_of(objects, "mesh-gateway")
    assert settings["MESH_MAX_MESSAGE_BYTES"] == "16777216"
    assert settings["MESH_TRACE_SAMPLE_RATIO"] == "0.25"
    assert settings["MESH_GATEWAY_ACCESS_LOG"] == "false"
    assert settings["MESH_GATEWAY_KEY_RATE"] == "600/m:50"
    assert json.loads(settings["MESH_GATEWAY_JWT_ALGORITHMS"]) == ["RS256", "ES256"]
    assert settings["MESH_GATEWAY_STREAM_IDLE_TIMEOUT_S"] == "0.5"
    assert environment_of(main_container(objects, "mesh-classifier"))["TZ"] == "UTC"


def test_what_is_empty_is_left_to_the_process(defaults: list[Object]) -> None:
    settings = settings_of(defaults, "mesh-classifier")
    assert "MESH_OTLP_ENDPOINT" not in settings
    assert settings["MESH_DEPLOYMENT"] == "mesh"


def test_the_gateway_finds_each_service_by_its_headless_name(defaults: list[Object]) -> None:
    settings = settings_of(defaults, "mesh-gateway")
    assert settings["MESH_GATEWAY_CLASSIFIER_TARGET"] == "dns:///mesh-classifier:50061"
    service = next(
        each
        for each in defaults
        if (each["kind"], each["metadata"]["name"]) == ("Service", "mesh-classifier")
    )
    assert service["spec"]["clusterIP"] == "None"
    assert [port["port"] for port in service["spec"]["ports"]] == [50061]


def test_the_gateway_knows_how_many_of_it_there_may_be() -> None:
    fixed = render({"gateway": {"replicas": 3}})
    assert settings_of(fixed, "mesh-gateway")["MESH_GATEWAY_REPLICAS"] == "3"
    none = render({"gateway": {"replicas": 0}})
    assert settings_of(none, "mesh-gateway")["MESH_GATEWAY_REPLICAS"] == "1"
    # While Redis is away each lets its part through: with the most there may be, never too much.
    scaled = render({"gateway": {"autoscaling": {"enabled": True, "maxReplicas": 12}}})
    assert settings_of(scaled, "mesh-gateway")["MESH_GATEWAY_REPLICAS"] == "12"


GRACES: list[tuple[dict[str, Any], int, int]] = [
    ({}, 45, 45),
    ({"settings": {"drain_delay_s": 20, "drain_timeout_s": 300}}, 330, 330),
    ({"settings": {"drain_delay_s": 0, "drain_timeout_s": 0.5}}, 11, 11),
    ({"gateway": {"settings": {"drain_timeout_s": 120}}}, 135, 45),
    ({"services": {"classifier": {"settings": {"drain_delay_s": 0}}}}, 45, 40),
]


@pytest.mark.parametrize(("values", "gateway", "classifier"), GRACES)
def test_a_pod_has_the_time_that_its_drain_takes(
    values: dict[str, Any], gateway: int, classifier: int
) -> None:
    objects = render(values)
    assert pod_of(objects, "mesh-gateway")["terminationGracePeriodSeconds"] == gateway
    assert pod_of(objects, "mesh-classifier")["terminationGracePeriodSeconds"] == classifier
