"""Values that users would have, each rendered by the tests that hold for all."""

import functools
from typing import Any, Final

from rendering import Object, render

MADE_UP: Final[dict[str, Any]] = {
    "image": {"repository": "inference-mesh/forecaster"},
    "ports": {"grpc": 50066, "admin": 9066},
    "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
}
"""A service that there is none of: a service is an entry in the values."""

LLM: Final[dict[str, Any]] = {"services": {"llm": {"enabled": True}}}
"""With the large language model, on CPUs."""

PRODUCTION: Final[dict[str, Any]] = {
    "image": {
        "registry": "registry.example.com",
        "tag": "1.2.3",
        "pullSecrets": [{"name": "pull"}],
    },
    "commonLabels": {"team": "search"},
    "settings": {"otlp_endpoint": "http://collector.monitoring:4317"},
    "gateway": {
        "settings": {"jwt_keys": "https://issuer.example.com/jwks", "jwt_issuer": "i"},
        "service": {"type": "LoadBalancer", "annotations": {"lb.example.com/kind": "l4"}},
        "autoscaling": {"enabled": True, "inFlight": {"target": 128}},
        "priorityClassName": "serving",
    },
    "services": {
        "classifier": {
            "replicas": 3,
            "gpu": {"enabled": True},
            "nodeSelector": {"kubernetes.io/arch": "amd64"},
        },
        "llm": {
            "enabled": True,
            "replicas": 2,
            "gpu": {"enabled": True},
            "model": {"size": "40Gi"},
            "settings": {"model_uri": "hf://Qwen/Qwen2.5-7B-Instruct", "gpu_memory_share": 0.85},
        },
    },
    "models": {"url": "s3://bucket/models", "fetch": {"credentialsSecret": "models"}},
    "redis": {
        "bundled": False,
        "external": {
            "host": "redis.example.com",
            "username": "mesh",
            "passwordSecret": "redis",
            "tls": {"enabled": True, "caSecret": "redis-ca"},
        },
    },
    "limitsRedis": {"host": "limits.example.com", "port": 6380},
    "hashingKey": {"existingSecret": "keys"},
    "tls": {
        "door": {"enabled": True, "dnsNames": ["api.example.com"]},
        "internal": {"enabled": True},
        "certManager": {
            "enabled": True,
            "doorIssuer": {"name": "public", "kind": "ClusterIssuer"},
            "internalIssuer": {"name": "mesh"},
        },
    },
    "ingress": {
        "enabled": True,
        "host": "api.example.com",
        "grpc": {"enabled": True, "host": "grpc.example.com", "tlsSecret": "grpc"},
    },
    "monitoring": {
        "serviceMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True, "kubernetes": True},
        "dashboard": {"enabled": True},
    },
}
"""What an installation with everything outside has."""

FILES: Final[dict[str, Any]] = {
    **LLM,
    "prices": """\
currency = "USD"
[default]
input_per_million = 0.10
cached_input_per_million = 0.05
output_per_million = 0.40
[compute]
cpu_second = 0.000012
gpu_second = 0.0007
""",
    "gateway": {
        "llmRouting": """\
# Kept as it is, {{ braces }}, "quotes" and \\ too.
[deployments.large]
target = "dns:///llm-large.other:50062"

[models.gpt-4o-mini]
to = ["llm/llm", "large/qwen-7b"]
"""
    },
}
"""With prices, and aliases of models: files that stand in values."""

CASES: Final[dict[str, dict[str, Any]]] = {
    "defaults": {},
    "production": PRODUCTION,
    "an llm": LLM,
    "own files": FILES,
    "another service": {"services": {"forecaster": MADE_UP}},
    "gateway api": {
        "gatewayApi": {
            "enabled": True,
            "parentRefs": [{"name": "public", "namespace": "infra"}],
            "hostnames": ["api.example.com"],
            "grpc": {"enabled": True, "hostnames": ["grpc.example.com"]},
        }
    },
    "self-signed": {
        "tls": {
            "door": {"enabled": True, "selfSigned": True},
            "internal": {"enabled": True, "selfSigned": True},
        }
    },
    "own secrets": {
        "tls": {
            "door": {"enabled": True, "existingSecret": "door"},
            "internal": {"enabled": True, "existingSecret": "inside"},
        },
        "hashingKey": {"existingSecret": "keys", "secretKey": "file"},
        "redis": {"existingSecret": "redis", "existingSecretKey": "pw"},
    },
    "pinned version": {
        "services": {"classifier": {"model": {"version": "20261122-043858-424ef2"}}},
        "models": {
            "url": "file:///mirror",
            "fetch": {"mirrorVolume": {"hostPath": {"path": "/m"}}},
        },
    },
    "models on a claim": {"models": {"existingClaim": "models"}},
    "models on the nodes": {"models": {"hostPath": "/srv/models"}},
    "node ports": {
        "gateway": {"service": {"type": "NodePort", "httpNodePort": 30080, "grpcNodePort": 30081}}
    },
    "nothing kept": {
        "redis": {"persistence": {"enabled": False}},
        "networkPolicy": {"enabled": False},
        "test": {"enabled": False},
        "defaults": {"disruption": {"enabled": False}, "topologySpread": []},
    },
}


@functools.cache
def rendered(name: str) -> list[Object]:
    """What a case renders; Helm is asked once."""
    return render(CASES[name])
