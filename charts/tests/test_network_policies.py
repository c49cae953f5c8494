"""Who may speak with whom: nobody, but where the mesh needs it."""

from typing import Any

import pytest

from cases import MADE_UP, PRODUCTION
from rendering import Object, find, kinds, render

Rules = set[tuple[str, int]]


def component(peer: Object) -> str:
    """What a peer of a rule is: a component of the mesh, or its labels as they stand."""
    labels = peer.get("podSelector", {}).get("matchLabels", {})
    if labels.get("app.kubernetes.io/instance") == "mesh" and "namespaceSelector" not in peer:
        return str(labels["app.kubernetes.io/component"])
    return str(peer)


def rules(objects: list[Object], name: str, direction: str) -> Rules:
    """Each peer of a policy with each port, `anybody` where a rule names none."""
    key = {"ingress": "from", "egress": "to"}[direction]
    found: Rules = set()
    for rule in find(objects, "NetworkPolicy", name)["spec"].get(direction, []):
        peers = [component(peer) for peer in rule.get(key, [])] or ["anybody"]
        found |= {(peer, port["port"]) for peer in peers for port in rule["ports"]}
    return found


DNS = str(
    {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
)
MONITORING = str(
    {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
)


def test_all_that_no_policy_names_is_denied(defaults: list[Object]) -> None:
    spec = find(defaults, "NetworkPolicy", "mesh-deny")["spec"]
    assert spec == {
        "podSelector": {
            "matchLabels": {
                "app.kubernetes.io/name": "inference-mesh",
                "app.kubernetes.io/instance": "mesh",
            }
        },
        "policyTypes": ["Ingress", "Egress"],
    }


def test_each_policy_holds_both_ways(case: list[Object]) -> None:
    for each in case:
        if each["kind"] == "NetworkPolicy":
            assert each["spec"]["policyTypes"] == ["Ingress", "Egress"]


def test_of_the_defaults(defaults: list[Object]) -> None:
    assert rules(defaults, "mesh-gateway", "ingress") == {
        ("anybody", 8080),
        ("anybody", 8081),
        (MONITORING, 9080),
    }
    assert rules(defaults, "mesh-gateway", "egress") == {
        (DNS, 53),
        ("classifier", 50061),
        ("embedder", 50063),
        ("redis", 6379),
    }
    assert rules(defaults, "mesh-classifier", "ingress") == {
        ("gateway", 50061),
        (MONITORING, 9061),
    }
    assert rules(defaults, "mesh-classifier", "egress") == {(DNS, 53)}
    # What it computes for whom goes into the ledger.
    assert rules(defaults, "mesh-embedder", "ingress") == {
        ("gateway", 50063),
        (MONITORING, 9063),
    }
    assert rules(defaults, "mesh-embedder", "egress") == {(DNS, 53), ("redis", 6379)}
    assert rules(defaults, "mesh-redis", "ingress") == {
        ("gateway", 6379),
        ("embedder", 6379),
        ("test", 6379),
    }
    assert rules(defaults, "mesh-redis", "egress") == set()
    assert rules(defaults, "mesh-test", "ingress") == set()
    assert rules(defaults, "mesh-test", "egress") == {
        (DNS, 53),
        ("gateway", 8080),
        ("redis", 6379),
    }


def test_what_lies_outside_is_reached_where_there_is_something() -> None:
    objects = render(PRODUCTION)
    assert rules(objects, "mesh-gateway", "egress") == {
        (DNS, 53),
        ("classifier", 50061),
        ("embedder", 50063),
        ("llm", 50062),
        ("anybody", 6379),
        ("anybody", 6380),
        ("anybody", 443),
        ("anybody", 4317),
    }
    assert rules(objects, "mesh-classifier", "egress") == {
        (DNS, 53),
        ("anybody", 443),
        ("anybody", 4317),
    }


def test_a_mirror_on_a_volume_needs_no_network() -> None:
    objects = render({"models": {"url": "file:///mirror"}})
    assert rules(objects, "mesh-classifier", "egress") == {(DNS, 53)}


def test_callers_and_places_outside_may_be_named() -> None:
    peer: dict[str, Any] = {"ipBlock": {"cidr": "10.1.0.0/16"}}
    objects = render(
        {
            "models": {"url": "s3://bucket/models"},
            "networkPolicy": {
                "callers": [peer],
                "models": {"to": [peer], "ports": [9000]},
                "monitoring": [],
                "gatewayEgress": [{"to": [peer], "ports": [{"port": 8443}]}],
            },
        }
    )
    assert rules(objects, "mesh-gateway", "ingress") == {
        (str(peer), 8080),
        (str(peer), 8081),
        ("test", 8080),
        ("test", 8081),
    }
    assert (str(peer), 8443) in rules(objects, "mesh-gateway", "egress")
    assert rules(objects, "mesh-classifier", "ingress") == {("gateway", 50061)}
    assert rules(objects, "mesh-classifier", "egress") == {(DNS, 53), (str(peer), 9000)}


def test_services_do_not_reach_one_another() -> None:
    objects = render({"services": {"forecaster": MADE_UP}})
    assert ("forecaster", 50066) in rules(objects, "mesh-gateway", "egress")
    assert rules(objects, "mesh-forecaster", "ingress") == {
        ("gateway", 50066),
        (MONITORING, 9066),
    }
    assert rules(objects, "mesh-classifier", "ingress") == {
        ("gateway", 50061),
        (MONITORING, 9061),
    }


@pytest.mark.parametrize("enabled", [True, False])
def test_they_may_be_left_to_others(enabled: bool) -> None:
    objects = render({"networkPolicy": {"enabled": enabled}})
    assert ("NetworkPolicy" in kinds(objects)) is enabled
