"""Limits over real HTTP: who is refused, and what callers are told."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import pytest

from door_calls import Call, classify, failure, infer, reason
from meshkit.rates import Rate
from problems import problem
from processes import Gateway, Mesh, until

CLASSIFY = "/v1/classify"
BODY = {"texts": ["a"]}


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    folder = tmp_path_factory.mktemp("limited")
    with Mesh(folder, MESH_GATEWAY_KEY_RATE="3/h", MESH_GATEWAY_TENANT_RATE="unlimited") as started:
        yield started


def level(response: httpx.Response) -> dict[str, tuple[int, int]]:
    """What is left of each policy, and the seconds until there is one more."""
    found = re.findall(r'"(\w+)";r=(\d+);t=(\d+)(?:, |$)', response.headers["ratelimit"])
    return {policy: (int(left), int(seconds)) for policy, left, seconds in found}


def test_a_key_is_told_its_limit_and_refused_beyond_it(limited: Mesh) -> None:
    with limited.client(limited.make_key()) as client:
        for left in (2, 1, 0):
            response = client.post(CLASSIFY, json=BODY)
            assert response.status_code == 200
            assert response.headers["ratelimit-policy"] == '"key";q=3;w=3600'
            assert level(response)["key"][0] == left
        response = client.post(CLASSIFY, json=BODY)
        refusal = problem(response, 429)
        assert refusal["reason"] == "QUOTA_EXCEEDED"
        assert refusal["violated-policies"] == ["key"]
        assert refusal["retryable"] is True
        left, seconds = level(response)["key"]
        assert left == 0
        assert 1190 < seconds <= 1200
        assert int(response.headers["retry-after"]) >= seconds
        # It asked for nothing of the service.
        assert "backend;dur=0.000" in response.headers["server-timing"]


def test_a_key_has_the_rate_that_it_was_made_with(limited: Mesh) -> None:
    key = limited.make_key(rate=Rate(60, "m", 1))
    with limited.client(key) as client:
        first = client.post(CLASSIFY, json=BODY)
        assert first.headers["ratelimit-policy"] == '"key";q=60;w=60'
        assert client.post(CLASSIFY, json=BODY).headers["retry-after"] == "1"


def test_the_keys_of_a_tenant_share_its_limit(limited: Mesh) -> None:
    limited.set_tenant("together", Rate(2, "h", 2))
    keys = [limited.make_key(tenant="together") for _ in range(2)]
    with limited.client(keys[0]) as one, limited.client(keys[1]) as other:
        response = one.post(CLASSIFY, json=BODY)
        assert response.headers["ratelimit-policy"] == '"key";q=3;w=3600, "tenant";q=2;w=3600'
        assert {policy: left for policy, (left, _) in level(response).items()} == {
            "key": 2,
            "tenant": 1,
        }
        assert other.post(CLASSIFY, json=BODY).status_code == 200
        for client in (one, other):
            refusal = problem(client.post(CLASSIFY, json=BODY), 429)
            assert refusal["violated-policies"] == ["tenant"]
            assert "tenant:together may make 2 requests a hour" in refusal["detail"]


def test_who_is_refused_for_one_limit_takes_nothing_of_another(limited: Mesh) -> None:
    limited.set_tenant("narrow", Rate(1, "h", 1))
    with limited.client(limited.make_key(tenant="narrow")) as client:
        assert level(client.post(CLASSIFY, json=BODY))["key"][0] == 2
        assert level(client.post(CLASSIFY, json=BODY)) == {
            "key": (2, level(client.post(CLASSIFY, json=BODY))["key"][1]),
            "tenant": (0, level(client.post(CLASSIFY, json=BODY))["tenant"][1]),
        }


def test_a_request_that_takes_too_long_counts(limited: Mesh) -> None:
    with limited.client(limited.make_key(rate=Rate(8, "h", 8))) as client:
        assert level(client.post(CLASSIFY, json=BODY))["key"][0] == 7
        headers = {"x-request-timeout-ms": "500"}
        late = client.post(CLASSIFY, json={"texts": ["wait"]}, headers=headers)
        problem(late, 504)
        assert level(late)["key"][0] == 6


def test_a_bad_request_counts_and_a_bad_key_does_not(limited: Mesh) -> None:
    key = limited.make_key()
    with limited.client(key) as client:
        assert client.post(CLASSIFY, content=b"{").status_code == 400
        assert level(client.post(CLASSIFY, json=BODY))["key"][0] == 1
        response = client.get("/health")
        assert "ratelimit" not in response.headers


@pytest.fixture(scope="module")
def second(limited: Mesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One more gateway before the same Redis."""
    gateway = Gateway(
        tmp_path_factory.mktemp("second"),
        redis_url=limited.redis.url,
        target=f"127.0.0.1:{limited.service.port}",
        hashing_key=Path(limited.gateway.environment["MESH_HASHING_KEY_PATH"]),
        MESH_GATEWAY_KEY_RATE="3/h",
    ).start()
    try:
        until(lambda: gateway.backend("classifier") == "ready", "the service")
        yield gateway
    finally:
        gateway.kill()


def test_two_gateways_count_as_one(limited: Mesh, second: Gateway) -> None:
    headers = {"x-api-key": limited.make_key().text}
    statuses = [
        httpx.post(f"{url}{CLASSIFY}", json=BODY, headers=headers).status_code
        for _ in range(3)
        for url in (second.url, limited.gateway.url)
    ]
    assert sorted(statuses) == [200, 200, 200, 429, 429, 429]


@pytest.mark.parametrize("texts", [["a"], [""]], ids=["good", "bad"])
def test_who_was_let_go_ahead_gets_no_answer_that_it_may_not_have(
    limited: Mesh, second: Gateway, texts: list[str]
) -> None:
    headers = {"x-api-key": limited.make_key(rate=Rate(8, "h", 8)).text}

    def ask(gateway: Gateway, texts: list[str] = BODY["texts"]) -> httpx.Response:
        return httpx.post(f"{gateway.url}{CLASSIFY}", json={"texts": texts}, headers=headers)

    assert ask(limited.gateway).status_code == 200
    assert [ask(second).status_code for _ in range(8)] == [200] * 7 + [429]
    begun = limited.service.counts()["begun"]
    # The gateway has seen seven left, and finds out while the service is at work.
    for reached in (1, 0):
        refusal = problem(ask(limited.gateway, texts), 429)
        assert refusal["violated-policies"] == ["key"]
        assert "results" not in refusal
        assert limited.service.counts()["begun"] == begun + reached
        begun += reached


@pytest.mark.parametrize("begin", [classify, infer])
async def test_the_grpc_door_keeps_the_answer_back_too(
    limited: Mesh, second: Gateway, begin: Call
) -> None:
    key = limited.make_key(rate=Rate(8, "h", 8))
    async with (
        grpc.aio.insecure_channel(limited.gateway.address) as channel,
        grpc.aio.insecure_channel(second.address) as other,
    ):
        await begin(channel, key, "a")
        for _ in range(7):
            await begin(other, key, "a")
        begun = limited.service.counts()["begun"]
        for reached in (1, 0):
            refused = await failure(begin(channel, key, "a"))
            assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert reason(refused) == "QUOTA_EXCEEDED"
            assert limited.service.counts()["begun"] == begun + reached
            begun += reached


def test_a_key_may_only_have_so_many_requests_in_flight(own_mesh: Mesh) -> None:
    key = own_mesh.make_key(max_concurrent=2)
    with own_mesh.client(key) as client, ThreadPoolExecutor(2) as threads:
        headers = {"x-request-timeout-ms": "2000"}
        waiting = [
            threads.submit(client.post, CLASSIFY, json={"texts": ["wait"]}, headers=headers)
            for _ in range(2)
        ]
        until(lambda: own_mesh.service.counts().get("begun", 0) == 2, "two requests in flight")
        refusal = problem(client.post(CLASSIFY, json=BODY), 429)
        assert refusal["violated-policies"] == ["concurrency"]
        assert "may have 2 requests in flight" in refusal["detail"]
        assert [each.result().status_code for each in waiting] == [504, 504]
        until(lambda: client.post(CLASSIFY, json=BODY).status_code == 200, "a place")


def test_without_redis_a_limited_key_gets_its_share_of_this_gateway(tmp_path: Path) -> None:
    with Mesh(tmp_path, MESH_GATEWAY_KEY_RATE="8/h", MESH_GATEWAY_REPLICAS="2") as mesh:
        with mesh.client() as client:
            assert client.post(CLASSIFY, json=BODY).status_code == 200
            mesh.redis.kill()
            statuses = [client.post(CLASSIFY, json=BODY).status_code for _ in range(8)]
            assert statuses == [200] * 4 + [429] * 4
        assert 'mesh_limit_outcome="passed_alone"' in mesh.gateway.metrics()
        until(lambda: "each gateway counts alone" in mesh.gateway.log, "the line in the log")
