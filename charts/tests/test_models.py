"""How a service comes to its model."""

from typing import Any

import pytest

from rendering import environment_of, pod_of, render, settings_of


def test_from_a_mirror_the_first_version_is_fetched_and_later_ones_follow() -> None:
    objects = render({"models": {"url": "s3://bucket/models", "fetch": {"intervalSeconds": 2.5}}})
    fetch, follow = pod_of(objects, "mesh-classifier")["initContainers"]
    assert "restartPolicy" not in fetch
    # A native sidecar: it starts once the first version is there, and goes on beside the service.
    assert follow["restartPolicy"] == "Always"
    assert fetch["command"] == follow["command"] == ["/app/bin/fetch"]
    assert follow["args"] == ["--follow"]
    assert environment_of(fetch) == {
        "MESH_MODELS_URL": "s3://bucket/models",
        "MESH_MODELS_PATH": "/models",
        "MESH_FETCH_MODEL": "classifier",
        "MESH_FETCH_ALIAS": "production",
        "MESH_FETCH_INTERVAL_S": "2.5",
    }
    assert environment_of(follow) == environment_of(fetch)


def test_only_those_that_fetch_write_the_models() -> None:
    pod = pod_of(render({"models": {"url": "s3://bucket/models"}}), "mesh-classifier")
    mounts = {
        each["name"]: {mount["name"]: mount for mount in each["volumeMounts"]}["models"]
        for each in [*pod["initContainers"], *pod["containers"]]
    }
    assert mounts["classifier"]["readOnly"] is True
    assert not mounts["fetch"].get("readOnly")
    assert not mounts["follow"].get("readOnly")


def test_a_pinned_version_is_fetched_and_not_followed() -> None:
    version = "20261122-043858-424ef2"
    objects = render(
        {
            "models": {"url": "s3://bucket/models"},
            "services": {"classifier": {"model": {"version": version, "alias": "canary"}}},
        }
    )
    (fetch,) = pod_of(objects, "mesh-classifier")["initContainers"]
    assert environment_of(fetch)["MESH_FETCH_VERSION"] == version
    assert environment_of(fetch)["MESH_FETCH_ALIAS"] == "canary"
    settings = settings_of(objects, "mesh-classifier")
    assert settings["MESH_CLASSIFIER_MODEL_VERSION"] == version


def test_the_alias_is_the_same_for_those_that_fetch_and_the_service() -> None:
    objects = render(
        {
            "models": {"url": "s3://bucket/models"},
            "services": {"classifier": {"model": {"alias": "canary"}}},
        }
    )
    for container in pod_of(objects, "mesh-classifier")["initContainers"]:
        assert environment_of(container)["MESH_FETCH_ALIAS"] == "canary"
    assert settings_of(objects, "mesh-classifier")["MESH_CLASSIFIER_ALIAS"] == "canary"


def test_only_those_that_fetch_have_the_credentials() -> None:
    objects = render({"models": {"url": "s3://b/m", "fetch": {"credentialsSecret": "aws"}}})
    pod = pod_of(objects, "mesh-classifier")
    for container in pod["initContainers"]:
        assert container["envFrom"] == [{"secretRef": {"name": "aws"}}]
    (container,) = pod["containers"]
    assert container["envFrom"] == [{"configMapRef": {"name": "mesh-classifier"}}]


def test_a_mirror_may_be_a_volume() -> None:
    source = {"persistentVolumeClaim": {"claimName": "mirror"}}
    objects = render({"models": {"url": "file:///mirror", "fetch": {"mirrorVolume": source}}})
    pod = pod_of(objects, "mesh-classifier")
    assert {"name": "mirror", **source} in pod["volumes"]
    for container in pod["initContainers"]:
        mount = {each["name"]: each for each in container["volumeMounts"]}["mirror"]
        assert mount == {"name": "mirror", "mountPath": "/mirror", "readOnly": True}


@pytest.mark.parametrize(
    ("models", "volume"),
    [
        (
            {"existingClaim": "store"},
            {"persistentVolumeClaim": {"claimName": "store", "readOnly": True}},
        ),
        ({"hostPath": "/srv/m"}, {"hostPath": {"path": "/srv/m", "type": "Directory"}}),
    ],
)
def test_a_store_that_is_there_is_mounted_and_not_written(
    models: dict[str, Any], volume: dict[str, Any]
) -> None:
    pod = pod_of(render({"models": models}), "mesh-classifier")
    assert "initContainers" not in pod
    assert {"name": "models", **volume} in pod["volumes"]
    mounts = {each["name"]: each for each in pod["containers"][0]["volumeMounts"]}
    assert mounts["models"] == {"name": "models", "mountPath": "/models", "readOnly": True}
