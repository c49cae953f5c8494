"""Metering where processes die and Redis is away, and over several gateways."""

import random
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from llm_mesh import LlmMesh, RoutedMesh, chat
from meshkit import names
from meshkit.keys import ApiKey
from metered import (
    PATH,
    answered,
    ask,
    cost,
    counted,
    key_with,
    reserved,
    spent,
    until_settled,
    used,
)
from processes import PATIENCE_S, Gateway, until

SCRIPT, PROMPT, ANSWER = "say one two three", 4, 3


@pytest.fixture
def mesh(llm_mesh: RoutedMesh) -> RoutedMesh:
    return llm_mesh


@pytest.fixture(scope="module")
def other_gateway(
    llm_mesh: RoutedMesh, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    mesh = llm_mesh
    gateway = Gateway(
        tmp_path_factory.mktemp("second"),
        redis_url=mesh.redis.url,
        target=f"127.0.0.1:{mesh.service.port}",
        hashing_key=Path(mesh.gateway.environment["MESH_HASHING_KEY_PATH"]),
        MESH_GATEWAY_LLM_TARGET=mesh.llm.address,
        MESH_PRICES_PATH=mesh.gateway.environment["MESH_PRICES_PATH"],
    ).start()
    yield gateway
    gateway.kill()


@pytest.fixture
def second(other_gateway: Gateway) -> Gateway:
    """Another gateway of the same mesh; one that was killed is started anew."""
    if other_gateway.ended:
        other_gateway.start()
    until(lambda: other_gateway.backend("llm") == "ready", "the llm")
    return other_gateway


def client_of(gateway: Gateway, key: ApiKey) -> httpx.Client:
    return httpx.Client(
        base_url=gateway.url,
        headers={"authorization": f"Bearer {key.text}"},
        timeout=PATIENCE_S,
    )


def test_two_gateways_never_let_more_through_than_one_would(mesh: LlmMesh, second: Gateway) -> None:
    key = key_with(mesh, "6000/d")
    gateways = (mesh.gateway, second)

    def calls(number: int) -> list[int]:
        with client_of(gateways[number % 2], key) as client:
            answers = [ask(client, "words 100", max_tokens=150) for _ in range(12)]
        return [answer.status_code for answer in answers]

    with ThreadPoolExecutor(8) as threads:
        statuses = [status for some in threads.map(calls, range(8)) for status in some]
    assert set(statuses) == {200, 429}
    while statuses[-1] == 200:  # as long as there is room, one after the other
        until_settled(mesh, key)
        with client_of(mesh.gateway, key) as client:
            statuses.append(ask(client, "words 100", max_tokens=150).status_code)
    until_settled(mesh, key)
    until(lambda: used(mesh, key).requests == statuses.count(200), "the ledger")
    usage = used(mesh, key)
    passed = usage.prompt_tokens + usage.completion_tokens
    assert passed == statuses.count(200) * 102
    # What comes back in the minutes of this test is a few tokens.
    assert passed <= 6000 + 60


def test_what_a_killed_gateway_had_open_is_settled_by_the_llm(
    mesh: LlmMesh, second: Gateway
) -> None:
    key = key_with(mesh, "1000000/d", budget="1000/month")
    begun = threading.Barrier(6)

    def stream() -> None:
        body = chat("say one two; wait", stream=True, max_tokens=10)
        with (
            suppress(httpx.HTTPError),
            client_of(second, key) as client,
            client.stream("POST", PATH, json=body) as answer,
        ):
            for line in answer.iter_lines():
                if "two" in line:
                    begun.wait(PATIENCE_S)

    threads = [threading.Thread(target=stream) for _ in range(5)]
    for thread in threads:
        thread.start()
    begun.wait(PATIENCE_S)
    assert reserved(mesh, key) > 0
    second.kill()
    for thread in threads:
        thread.join(PATIENCE_S)
    until_settled(mesh, key)
    assert spent(mesh, key) == (0, 5 * cost(4, 2))
    until(lambda: used(mesh, key).requests == 5, "the ledger")
    assert used(mesh, key).charged_nanos == 5 * cost(4, 2)


def test_what_nobody_settles_comes_back_when_its_lease_ends(mesh: LlmMesh, second: Gateway) -> None:
    key = key_with(mesh, "1000/d")
    mesh.llm.signal(signal.SIGSTOP)
    try:

        def call() -> None:
            headers = {names.REQUEST_TIMEOUT_MS: "1000"}
            with suppress(httpx.HTTPError), client_of(second, key) as client:
                client.post(PATH, json=chat(SCRIPT, max_tokens=10), headers=headers)

        caller = threading.Thread(target=call)
        caller.start()
        until(lambda: reserved(mesh, key) > 0, "the reservation")
        second.kill()
        caller.join(PATIENCE_S)
    finally:
        mesh.llm.signal(signal.SIGCONT)
    with mesh.client(key) as client:

        def whole() -> bool:
            answer = ask(client, SCRIPT)
            return (
                answer.status_code == 200
                and int(answer.headers["x-ratelimit-remaining-tokens"]) > 1000 - 2 * bound
            )

        first = ask(client, SCRIPT)
        bound = reserved(mesh, key)
        assert first.status_code in (200, 429)
        until(whole, "the end of the lease")
    until_settled(mesh, key)


def go_on(mesh: LlmMesh) -> None:
    """Lets Redis go on, and waits until the gateway asks it again: it would know no new key."""
    mesh.redis.signal(signal.SIGCONT)
    with mesh.client(key_with(mesh, "1000/d")) as client:
        until(lambda: client.get("/v1/models").status_code == 200, "the return")


def test_nothing_is_lost_while_redis_is_away_within_a_stream(mesh: LlmMesh) -> None:
    key = key_with(mesh, "1000000/d", budget="1000/month")
    body = chat("say one; pause 300; say two three", stream=True, max_tokens=10)
    try:
        with mesh.client(key) as client, client.stream("POST", PATH, json=body) as answer:
            events = answer.iter_lines()
            while "one" not in next(events):
                pass
            mesh.redis.signal(signal.SIGSTOP)
            assert list(events)[-2] == "data: [DONE]"
    finally:
        go_on(mesh)
    until(lambda: spent(mesh, key) == (0, cost(7, 3)), "the settlement")
    until(lambda: used(mesh, key).requests == 1, "the ledger")
    assert used(mesh, key).charged_nanos == cost(7, 3)


def test_without_redis_a_gateway_lets_its_share_through_and_settles_it_later(
    mesh: LlmMesh,
) -> None:
    key = key_with(mesh, "4000/d", budget="1000/month")
    with mesh.client(key) as client:
        assert ask(client, SCRIPT).status_code == 200  # the key is remembered from here on
        until_settled(mesh, key)
        mesh.redis.signal(signal.SIGSTOP)
        try:
            statuses = [ask(client, "words 400", max_tokens=450).status_code for _ in range(12)]
        finally:
            go_on(mesh)
    assert set(statuses) == {200, 429}
    assert statuses.count(200) * 402 <= 4000
    until(lambda: used(mesh, key).requests == statuses.count(200) + 1, "the ledger")
    until(lambda: spent(mesh, key) == (0, used(mesh, key).charged_nanos), "the settlement")
    with mesh.client(key) as client:
        after = ask(client, "words 400", max_tokens=450)
    assert after.status_code == 429  # what passed meanwhile counts


def test_the_ledger_has_what_the_llm_counted_whatever_became_of_requests(mesh: LlmMesh) -> None:
    keys = [key_with(mesh, "100000000/d", budget="1000/month") for _ in range(4)]

    def some(seed: int) -> None:
        chance = random.Random(seed)
        with mesh.client(keys[seed % len(keys)]) as client:
            for _ in range(25):
                _one(client, chance)

    with ThreadPoolExecutor(20) as threads:
        list(threads.map(some, range(20)))
    for key in keys:
        until_settled(mesh, key)
    until(mesh.at_rest, "the end of every stream")

    def exact() -> bool:
        usage = answered(mesh, {"llm", "llm-terse"})
        return counted(mesh.llm) == (usage.prompt_tokens, usage.completion_tokens)

    until(exact, "a ledger that agrees with the counters")
    for key in keys:
        assert spent(mesh, key) == (0, used(mesh, key).charged_nanos)


def _one(client: httpx.Client, chance: random.Random) -> None:
    """A request that is answered, fails on the way, or is left by its caller at some moment."""
    script = chance.choice(
        ["say a b c", "words 30", "say a b; fail Internal", "words 200", "say a; pause 5; words 20"]
    )
    body = chat(script, max_tokens=300, n=chance.choice([1, 1, 3]))
    if chance.random() < 0.4:
        client.post(PATH, json=body)
        return
    stop_after = chance.choice([1, 2, 5, 10_000])
    with client.stream("POST", PATH, json=body | {"stream": True}) as answer:
        for number, _ in enumerate(answer.iter_lines()):
            if number >= stop_after:
                return
