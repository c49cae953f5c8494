"""Which Redis the gateway uses, and that no password stands where everybody reads."""

from typing import Any

import pytest

from rendering import (
    Object,
    Values,
    environment_of,
    find,
    kinds,
    main_container,
    pod_of,
    render,
    settings_of,
)


def variables(values: Values) -> dict[str, Any]:
    return environment_of(main_container(render(values), "mesh-gateway"))


def external(**server: Any) -> dict[str, Any]:
    return {"redis": {"bundled": False, "external": {"host": "redis.example.com", **server}}}


def test_the_bundled_one_has_a_password_that_is_made(defaults: list[Object]) -> None:
    found = environment_of(main_container(defaults, "mesh-gateway"))
    reference = {"secretKeyRef": {"name": "mesh-redis", "key": "password"}}
    assert found["REDIS_PASSWORD"] == reference
    assert found["MESH_REDIS_URL"] == "redis://:$(REDIS_PASSWORD)@mesh-redis:6379/0"
    redis = main_container(defaults, "mesh-redis")
    assert environment_of(redis)["REDISCLI_AUTH"] == reference
    assert redis["args"][:2] == ["--requirepass", "$(REDISCLI_AUTH)"]
    assert find(defaults, "Secret", "mesh-redis")["data"]["password"]


def test_its_image_and_its_place_are_values() -> None:
    objects = render(
        {
            "redis": {
                "image": {"repository": "mirror/redis", "tag": "7", "digest": "sha256:" + "a" * 64},
                "nodeSelector": {"kubernetes.io/hostname": "node1"},
                "persistence": {"storageClass": "fast", "size": "1Gi"},
            }
        }
    )
    pod = pod_of(objects, "mesh-redis")
    assert pod["containers"][0]["image"] == "mirror/redis:7@sha256:" + "a" * 64
    assert pod["nodeSelector"] == {"kubernetes.io/hostname": "node1"}
    claim = find(objects, "PersistentVolumeClaim", "mesh-redis")["spec"]
    assert claim["storageClassName"] == "fast"
    assert claim["resources"]["requests"]["storage"] == "1Gi"


ADDRESSES: list[tuple[dict[str, Any], str]] = [
    ({}, "redis://redis.example.com:6379/0"),
    ({"port": 6400, "database": 3}, "redis://redis.example.com:6400/3"),
    ({"passwordSecret": "pw"}, "redis://:$(REDIS_PASSWORD)@redis.example.com:6379/0"),
    (
        {"username": "mesh", "passwordSecret": "pw"},
        "redis://mesh:$(REDIS_PASSWORD)@redis.example.com:6379/0",
    ),
    ({"tls": {"enabled": True}}, "rediss://redis.example.com:6379/0"),
    (
        {"tls": {"enabled": True, "caSecret": "ca"}, "options": {"health_check_interval": 30}},
        "rediss://redis.example.com:6379/0"
        "?health_check_interval=30&ssl_ca_certs=/etc/mesh/redis-ca/ca.crt",
    ),
]


@pytest.mark.parametrize(("server", "address"), ADDRESSES)
def test_the_address_of_an_external_one(server: dict[str, Any], address: str) -> None:
    assert variables(external(**server))["MESH_REDIS_URL"] == address


def test_an_address_may_come_from_a_secret_whole() -> None:
    found = variables(external(host="", urlSecret="redis"))
    assert found["MESH_REDIS_URL"] == {"secretKeyRef": {"name": "redis", "key": "url"}}
    assert "REDIS_PASSWORD" not in found


def test_the_authority_of_an_external_one_is_mounted() -> None:
    objects = render(external(tls={"enabled": True, "caSecret": "ca"}))
    pod = pod_of(objects, "mesh-gateway")
    (volume,) = [each for each in pod["volumes"] if each["name"] == "redis-ca"]
    assert volume["secret"]["secretName"] == "ca"
    mounts = {each["name"]: each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}
    assert mounts["redis-ca"] == "/etc/mesh/redis-ca"


def test_limits_may_have_a_redis_of_their_own() -> None:
    assert "MESH_LIMITS_REDIS_URL" not in variables(external())
    limits = {"host": "limits.example.com", "passwordSecret": "pw"}
    found = variables({**external(), "limitsRedis": limits})
    assert found["MESH_LIMITS_REDIS_URL"] == (
        "redis://:$(LIMITS_REDIS_PASSWORD)@limits.example.com:6379/0"
    )
    assert found["LIMITS_REDIS_PASSWORD"] == {"secretKeyRef": {"name": "pw", "key": "password"}}


def test_with_an_external_one_none_is_installed() -> None:
    objects = render(external())
    assert not [each for each in objects if each["metadata"]["name"] == "mesh-redis"]
    assert "PersistentVolumeClaim" not in kinds(objects)


def test_no_settings_hold_a_password(case: list[Object]) -> None:
    for name in ("mesh-gateway", "mesh-classifier"):
        assert not [key for key in settings_of(case, name) if "REDIS" in key or "PASSWORD" in key]
