"""What callers see while something behind the gateway is away."""

import signal
from pathlib import Path

import httpx
import pytest

from meshkit.hashing_keys import HashingKey, HashingKeys
from meshkit.keys import ApiKey
from ports import free_port
from problems import problem
from processes import CLASSIFIER_ALONE, Gateway, Mesh, StandInService, until

CLASSIFY = "/v1/classify"
BODY = {"texts": ["a"]}


@pytest.mark.parametrize("how", ["gone", "hanging"])
def test_without_redis_a_remembered_key_passes_and_an_unknown_one_waits(
    own_mesh: Mesh, how: str
) -> None:
    with own_mesh.client() as client, own_mesh.client(ApiKey.generate()) as stranger:
        assert client.post(CLASSIFY, json=BODY).status_code == 200
        if how == "gone":
            own_mesh.redis.kill()
        else:
            own_mesh.redis.signal(signal.SIGSTOP)

        assert client.post(CLASSIFY, json=BODY).status_code == 200
        response = stranger.post(CLASSIFY, json=BODY)
        refusal = problem(response, 503)
        assert refusal["reason"] == "KEY_STORE_UNAVAILABLE"
        assert response.headers["retry-after"] == "1"

        until(lambda: own_mesh.gateway.state()["key_store"] == "unavailable", "the notice")
        assert client.get("/ready").status_code == 200
        assert "mesh_key_store_up 0.0" in plain(own_mesh.gateway.metrics())
        said = "the key store can't be reached"
        until(lambda: said in own_mesh.gateway.log, "the line in the log")


def test_a_redis_that_comes_back_is_noticed(own_mesh: Mesh) -> None:
    own_mesh.redis.kill()
    until(lambda: own_mesh.gateway.state()["key_store"] == "unavailable", "the notice")
    own_mesh.redis.start()
    until(lambda: own_mesh.gateway.state()["key_store"] == "ready", "the return")
    with own_mesh.client(own_mesh.make_key()) as client:
        assert client.post(CLASSIFY, json=BODY).status_code == 200


def test_without_a_backend_callers_come_again(own_mesh: Mesh, tmp_path: Path) -> None:
    own_mesh.service.kill()
    until(lambda: own_mesh.backend_state() == "unavailable", "the notice")
    with own_mesh.client() as client:
        assert client.get("/ready").status_code == 200
        response = client.post(CLASSIFY, json=BODY)
        refusal = problem(response, 503)
        assert "classifier" in refusal["detail"]
        assert refusal["retryable"] is True
        assert int(response.headers["retry-after"]) >= 1

        own_mesh.service = StandInService(tmp_path, own_mesh.service.port).start()
        until(lambda: own_mesh.backend_state() == "ready", "the return")
        assert client.post(CLASSIFY, json=BODY).status_code == 200


def test_the_gateway_starts_before_anything_else(tmp_path: Path) -> None:
    HashingKeys.load_or_create(tmp_path / "hashing.key")
    gateway = Gateway(
        tmp_path,
        redis_url=f"redis://127.0.0.1:{free_port()}",
        target=f"127.0.0.1:{free_port()}",
        hashing_key=tmp_path / "hashing.key",
    )
    try:
        gateway.start()
        assert gateway.state() == {
            "ready": True,
            "backends": {**CLASSIFIER_ALONE, "classifier": "unavailable"},
            "key_store": "unavailable",
        }
    finally:
        gateway.kill()


def test_a_key_of_another_hashing_key_is_not_the_callers_fault(own_mesh: Mesh) -> None:
    own_mesh.hashing_key = HashingKey(bytes(32))
    with own_mesh.client(own_mesh.make_key()) as client:
        refusal = problem(client.post(CLASSIFY, json=BODY), 503)
        assert refusal["reason"] == "HASHING_KEY_DIFFERS"


def plain(metrics: str) -> str:
    """Metrics without the labels that name the library."""
    lines = metrics.splitlines()
    return "\n".join(f"{line.partition('{')[0]} {line.rpartition(' ')[2]}" for line in lines)


def test_many_strangers_do_not_disturb_a_known_caller(mesh: Mesh) -> None:
    with mesh.client() as client, httpx.Client(base_url=mesh.gateway.url) as stranger:
        for _ in range(20):
            headers = {"x-api-key": ApiKey.generate().text}
            assert stranger.post(CLASSIFY, json=BODY, headers=headers).status_code == 401
        assert client.post(CLASSIFY, json=BODY).status_code == 200
