"""Values that are wrong are refused, by a message that names the value and what it should be."""

from typing import Any

import pytest

from cases import PRODUCTION
from rendering import Refused, render

WRONG_BY_ITSELF: list[tuple[dict[str, Any], str]] = [
    ({"gatway": {}}, "additional properties 'gatway' not allowed"),
    ({"gateway": {"replica": 3}}, "at '/gateway': additional properties 'replica' not allowed"),
    ({"gateway": {"replicas": "three"}}, "at '/gateway/replicas': got string, want integer"),
    ({"gateway": {"replicas": -1}}, "at '/gateway/replicas': minimum: got -1, want 0"),
    ({"image": {"tag": 1.1}}, "at '/image/tag': got number, want string"),
    ({"image": {"pullPolicy": "always"}}, "must be one of 'Always', 'IfNotPresent', 'Never'"),
    ({"gateway": {"image": {"digest": "latest"}}}, "at '/gateway/image/digest': 'latest' does not"),
    ({"settings": {"log_level": "verbose"}}, "must be one of 'debug', 'info', 'warning', 'error'"),
    (
        {"settings": {"drain_delay_s": "5s"}},
        "at '/settings/drain_delay_s': got string, want number",
    ),
    ({"settings": {"trace_sample_ratio": 2}}, "at '/settings/trace_sample_ratio': maximum: got 2"),
    ({"gateway": {"settings": {"key_rte": "1/s"}}}, "additional properties 'key_rte' not allowed"),
    ({"gateway": {"settings": {"http_port": 80}}}, "additional properties 'http_port' not allowed"),
    (
        {"services": {"classifier": {"settings": {"max_texts": 0}}}},
        "at '/services/classifier/settings/max_texts': minimum: got 0, want 1",
    ),
    ({"services": {"llm": {"imag": {}}}}, "at '/services/llm': additional properties 'imag'"),
    ({"gateway": {"service": {"type": "Nodeport"}}}, "'ClusterIP', 'NodePort', 'LoadBalancer'"),
    ({"gateway": {"service": {"httpNodePort": 80}}}, "minimum: got 80, want 30,000"),
    ({"gateway": {"ports": {"http": 0}}}, "at '/gateway/ports/http': minimum: got 0, want 1"),
    ({"redis": False}, "at '/redis': got boolean, want object"),
    ({"tls": {"door": {"enable": True}}}, "at '/tls/door': additional properties 'enable'"),
    ({"extraEnv": {"A": "b"}}, "at '/extraEnv': got object, want array"),
    ({"defaults": {"nodeSelector": {"gpu": True}}}, "'/defaults/nodeSelector/gpu': got boolean"),
    ({"prices": {"currency": "USD"}}, "at '/prices': got object, want string"),
    ({"gateway": {"llmRouting": {}}}, "at '/gateway/llmRouting': got object, want string"),
    ({"fullnameOverride": "a" * 41}, "at '/fullnameOverride': maxLength: got 41, want 40"),
]

WRONG_TOGETHER: list[tuple[dict[str, Any], str]] = [
    (
        {"services": {"LLM": {"image": {"repository": "x"}}}},
        "services.LLM: the name should be small letters, digits and hyphens, 20 at most",
    ),
    (
        {"services": {"redis": {"image": {"repository": "x"}}}},
        "services.redis: the name is taken by another part of the chart; choose another",
    ),
    (
        {"services": {"prices": {"image": {"repository": "x"}}}},
        "services.prices: the name is taken by another part of the chart; choose another",
    ),
    (
        {"services": {"agent": {}}},
        "services.agent.image.repository is not set; name the image of the service",
    ),
    (
        {"gateway": {"autoscaling": {"enabled": True, "minReplicas": 9}}},
        "gateway.autoscaling.minReplicas is 9, more than maxReplicas, which is 8; raise that",
    ),
    (
        {"gateway": {"autoscaling": {"enabled": True, "cpuPercent": 0}}},
        "gateway.autoscaling has nothing to go by; set cpuPercent or inFlight.target",
    ),
    (
        {
            "services": {
                "agent": {"image": {"repository": "x"}, "autoscaling": {"enabled": True}},
            }
        },
        "services.agent.autoscaling.cpuPercent is a part of resources.requests.cpu, which is not",
    ),
    (
        {"services": {"classifier": {"ports": {"health": 50061}}}},
        "services.classifier.ports has one number twice; give each port its own",
    ),
    (
        {"gateway": {"serviceAccount": {"create": False}}},
        "gateway.serviceAccount.create is false and name is empty; name one that exists",
    ),
    (
        {"gateway": {"extraEnv": [{"name": "MESH_REDIS_URL", "value": "redis://a"}]}},
        "gateway has the variable MESH_REDIS_URL twice; keep one, of env, extraEnv and the chart",
    ),
    (
        {"prices": "a", "gateway": {"env": {"MESH_PRICES_PATH": "/b"}}},
        "gateway has the variable MESH_PRICES_PATH twice; keep one, of env, extraEnv and the chart",
    ),
    (
        {"env": {"A": "1"}, "services": {"classifier": {"extraEnv": [{"name": "A"}]}}},
        "services.classifier has the variable A twice; keep one",
    ),
    (
        {"models": {"url": "s3://a", "existingClaim": "b"}},
        "models.url and models.existingClaim are set; models come from one place, so keep one",
    ),
    (
        {"redis": {"bundled": False}},
        "redis.bundled is false and there is no other Redis; set redis.external.host or",
    ),
    (
        {"redis": {"external": {"host": "a"}}},
        "redis.external is set and redis.bundled is true, so it would not be used; set",
    ),
    (
        {"tls": {"door": {"enabled": True}}},
        "tls.door.enabled is true and there is no certificate; set tls.door.existingSecret,",
    ),
    (
        {"tls": {"internal": {"enabled": True}, "certManager": {"enabled": True}}},
        "or tls.certManager.enabled with internalIssuer.name",
    ),
    ({"ingress": {"enabled": True}}, "ingress.enabled is true and ingress.host is empty; set it"),
    (
        {"ingress": {"grpc": {"enabled": True}}},
        "ingress.grpc.enabled is true and ingress.grpc.host is empty; set it, to another host",
    ),
    (
        {"gatewayApi": {"enabled": True}},
        "gatewayApi is on and gatewayApi.parentRefs is empty; name the Gateway",
    ),
    (
        {"gateway": {"service": {"httpNodePort": 30080}}},
        "gateway.service.httpNodePort and grpcNodePort need a type of NodePort or LoadBalancer",
    ),
]


@pytest.mark.parametrize(("values", "says"), [*WRONG_BY_ITSELF, *WRONG_TOGETHER])
def test_it_is_refused_and_said_why(values: dict[str, Any], says: str) -> None:
    with pytest.raises(Refused) as refused:
        render(values)
    assert says in str(refused.value)


def test_all_that_is_wrong_is_said_at_once() -> None:
    values = {"redis": {"bundled": False}, "ingress": {"enabled": True}}
    with pytest.raises(Refused) as refused:
        render(values)
    assert str(refused.value).count("\n  - ") == 2


def test_the_cases_of_the_other_tests_are_not_wrong() -> None:
    assert render(PRODUCTION)
