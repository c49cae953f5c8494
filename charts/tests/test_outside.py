"""What connects the mesh with the rest of a cluster: routes, metrics, alerts, notes."""

import json
import subprocess

import pytest
import yaml

from cases import PRODUCTION
from rendering import CHART, Object, find, helm, kinds, render

API = {
    "gatewayApi": {
        "enabled": True,
        "parentRefs": [{"name": "public", "namespace": "infra"}],
        "hostnames": ["api.example.com"],
        "grpc": {"enabled": True, "hostnames": ["grpc.example.com"]},
    }
}


def test_no_kind_that_a_cluster_may_lack_is_made_unasked(defaults: list[Object]) -> None:
    assert kinds(defaults) == [
        "ConfigMap",
        "Deployment",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "Pod",
        "PodDisruptionBudget",
        "Secret",
        "Service",
        "ServiceAccount",
    ]


def test_an_ingress_for_http_and_one_for_grpc() -> None:
    objects = render(PRODUCTION)
    for name, host, port in (
        ("mesh-gateway", "api.example.com", "http"),
        ("mesh-gateway-grpc", "grpc.example.com", "grpc"),
    ):
        (rule,) = find(objects, "Ingress", name)["spec"]["rules"]
        assert rule["host"] == host
        (path,) = rule["http"]["paths"]
        assert path["backend"]["service"] == {"name": "mesh-gateway", "port": {"name": port}}
    tls = find(objects, "Ingress", "mesh-gateway-grpc")["spec"]["tls"]
    assert tls == [{"hosts": ["grpc.example.com"], "secretName": "grpc"}]


def test_a_route_for_http_and_one_for_grpc() -> None:
    objects = render(API)
    for kind, name, host, port in (
        ("HTTPRoute", "mesh-gateway", "api.example.com", 8080),
        ("GRPCRoute", "mesh-gateway-grpc", "grpc.example.com", 8081),
    ):
        spec = find(objects, kind, name)["spec"]
        assert spec["parentRefs"] == [{"name": "public", "namespace": "infra"}]
        assert spec["hostnames"] == [host]
        assert spec["rules"] == [{"backendRefs": [{"name": "mesh-gateway", "port": port}]}]


def test_prometheus_finds_the_admin_port_of_every_component() -> None:
    objects = render(PRODUCTION)
    monitor = find(objects, "ServiceMonitor", "mesh")["spec"]
    assert monitor["endpoints"] == [{"port": "admin", "path": "/metrics", "interval": "15s"}]
    selected = monitor["selector"]["matchLabels"].items()
    found = {
        each["metadata"]["labels"][monitor["jobLabel"]]: port["port"]
        for each in objects
        if each["kind"] == "Service" and selected <= each["metadata"]["labels"].items()
        for port in each["spec"]["ports"]
        if port["name"] == "admin"
    }
    assert found == {"gateway": 9080, "classifier": 9061, "embedder": 9063, "llm": 9062}


@pytest.mark.parametrize("optional", [False, True])
def test_the_rules_are_those_of_the_files(optional: bool) -> None:
    monitoring = {"prometheusRule": {"enabled": True, "kubernetes": optional, "labels": {"a": "b"}}}
    objects = render({"monitoring": monitoring})
    made = [each for each in objects if each["kind"] == "PrometheusRule"]
    files = [*(CHART / "files").glob("*.rules.yaml")]
    files += (CHART / "files" / "optional").glob("*.rules.yaml") if optional else []
    wanted = {
        f"mesh-{file.name.removesuffix('.rules.yaml')}": yaml.safe_load(file.read_text())
        for file in files
    }
    assert len(wanted) >= 3
    assert {each["metadata"]["name"]: each["spec"] for each in made} == wanted
    assert all(each["metadata"]["labels"]["a"] == "b" for each in made)


def test_the_dashboard_is_that_of_the_file() -> None:
    objects = render({"monitoring": {"dashboard": {"enabled": True}}})
    found = find(objects, "ConfigMap", "mesh-dashboard")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    files = {file.name: json.loads(file.read_text()) for file in (CHART / "files").glob("*.json")}
    assert files
    assert {name: json.loads(text) for name, text in found["data"].items()} == files


def test_alerts_link_the_runbook_where_it_is_said_to_be() -> None:
    place = "https://wiki.example.com/mesh"
    objects = render({"monitoring": {"prometheusRule": {"enabled": True, "runbook": place}}})
    rules = [
        rule
        for each in objects
        if each["kind"] == "PrometheusRule"
        for group in each["spec"]["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    assert rules
    for rule in rules:
        assert rule["annotations"]["runbook_url"].startswith(f"{place}#mesh")
        assert "runbook" not in rule["annotations"]


def notes(*options: str) -> str:
    command = [helm(), "install", "mesh", str(CHART), "--dry-run=client", *options]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return ran.stdout.partition("NOTES:")[2]


def test_the_notes_print_the_first_call() -> None:
    said = notes("--namespace=shop", "--set=models.url=s3://bucket/models")
    assert "kubectl -n shop exec deploy/mesh-gateway -- mesh keys create my-backend" in said
    assert "kubectl -n shop port-forward service/mesh-gateway 8080:8080 &" in said
    assert "curl -sS http://$HOST:$PORT/v1/classify" in said
    assert "THERE IS NO MODEL" not in said


def test_the_notes_say_that_there_is_no_model() -> None:
    assert "THERE IS NO MODEL YET" in notes()


@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer"])
def test_the_notes_know_how_the_gateway_is_reached(kind: str) -> None:
    options = [f"--set=gateway.service.type={kind}", "--set=tls.door.enabled=true"]
    said = notes(*options, "--set=tls.door.selfSigned=true")
    assert "port-forward" not in said
    assert "HOST=$(kubectl" in said
    assert "curl -sS --insecure https://$HOST:$PORT/v1/classify" in said


def test_helm_finds_nothing_to_say() -> None:
    ran = subprocess.run(
        [helm(), "lint", "--strict", str(CHART)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout
