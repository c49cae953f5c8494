from pathlib import Path

import pytest

from mesh_cli.failures import Failure
from mesh_cli.rooms import ROOT
from mesh_cli.settings import Site


def test_a_mesh_lives_in_the_repository_by_default() -> None:
    site = Site.load({"HOME": "/home/ada"})
    assert site.state == ROOT / ".mesh"
    assert site.models == ROOT / ".mesh" / "models"
    assert site.ports["MESH_GATEWAY_HTTP_PORT"] == 8080
    assert site.redis_url is None


def test_processes_are_told_where_everything_is() -> None:
    site = Site.load(
        {"MESH_STATE_PATH": "/srv/mesh", "MESH_CLASSIFIER_GRPC_PORT": "5001"}
        | {"LANG": "C", "PYTHONPATH": "/elsewhere"}
    )
    told = site.process_environment()
    assert told["MESH_MODELS_PATH"] == "/srv/mesh/models"
    assert told["MESH_HASHING_KEY_PATH"] == "/srv/mesh/secrets/hashing.key"
    assert told["MESH_CLASSIFIER_GRPC_PORT"] == "5001"
    assert told["MESH_GATEWAY_CLASSIFIER_TARGET"] == "127.0.0.1:5001"
    assert told["MESH_REDIS_URL"] == "redis://127.0.0.1:16379/0"
    assert told["LANG"] == "C"
    assert "MESH_REDIS_PORT" not in told
    assert "PYTHONPATH" not in told


def test_what_the_user_names_wins() -> None:
    site = Site.load(
        {
            "MESH_REDIS_URL": "redis://cache:6379/3",
            "MESH_GATEWAY_CLASSIFIER_TARGET": "dns:///classifier:50061",
            "MESH_MODELS_PATH": "/srv/models",
        }
    )
    told = site.process_environment()
    assert told["MESH_REDIS_URL"] == "redis://cache:6379/3"
    assert told["MESH_GATEWAY_CLASSIFIER_TARGET"] == "dns:///classifier:50061"
    assert told["MESH_MODELS_PATH"] == "/srv/models"
    assert "MESH_REDIS_PORT" not in site.ports


def test_relative_folders_are_made_absolute() -> None:
    assert Site.load({"MESH_STATE_PATH": "here"}).state == Path.cwd() / "here"


@pytest.mark.parametrize("value", ["http", "0", "65536", "-1", "80 80", "\u0665"])
def test_what_is_no_port_is_refused_by_name(value: str) -> None:
    with pytest.raises(Failure, match=r"MESH_GATEWAY_HTTP_PORT=.* is not a port: set a number"):
        Site.load({"MESH_GATEWAY_HTTP_PORT": value})


def test_two_settings_with_one_port_are_refused() -> None:
    with pytest.raises(Failure, match=r"MESH_GATEWAY_HTTP_PORT and .*GRPC_PORT are both 7000"):
        Site.load({"MESH_GATEWAY_HTTP_PORT": "7000", "MESH_CLASSIFIER_GRPC_PORT": "7000"})


def test_a_process_may_take_its_drain_before_it_is_killed() -> None:
    site = Site.load({"MESH_DRAIN_DELAY_S": "5", "MESH_GATEWAY_DRAIN_TIMEOUT_S": "60"})
    assert site.stop_wait_s("gateway") == 70
    assert site.stop_wait_s("classifier") == 40


def test_a_drain_that_is_no_number_is_refused_by_name() -> None:
    with pytest.raises(Failure, match="MESH_DRAIN_TIMEOUT_S='soon' is not a number"):
        Site.load({"MESH_DRAIN_TIMEOUT_S": "soon"}).stop_wait_s("gateway")
