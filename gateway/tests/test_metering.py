"""Token limits and budgets over real HTTP, before a scripted llm, in a real Redis."""

import re
from typing import Any

import httpx
import pytest
from redis import Redis

from llm_mesh import LlmMesh, RoutedMesh, chat, error_of
from meshkit import names
from meshkit.allowance import Allowance
from meshkit.key_records import Tenant
from meshkit.ledger import Source, Usage
from meshkit.rates import Rate
from metered import (
    PATH,
    ask,
    cost,
    key_with,
    ledger,
    reserved,
    spent,
    until_settled,
    used,
)
from oip_calls import infer, refusal, text
from processes import until

EMBEDDINGS = "/v1/embeddings"
# Four words of prompt, three of answer.
SCRIPT, PROMPT, ANSWER = "say one two three", 4, 3


@pytest.fixture
def mesh(llm_mesh: RoutedMesh) -> RoutedMesh:
    return llm_mesh


def token_headers(answer: httpx.Response) -> tuple[int, int, str]:
    """What an answer says of the tightest limit of tokens."""
    limit, left, reset = (
        answer.headers[f"x-ratelimit-{each}-tokens"] for each in ("limit", "remaining", "reset")
    )
    return int(limit), int(left), reset


def test_a_request_reserves_its_bound_and_settles_to_its_use(mesh: LlmMesh) -> None:
    key = key_with(mesh, "100000/d")
    with mesh.client(key) as client:
        first = ask(client, SCRIPT)
        assert first.status_code == 200, first.text
        assert first.json()["usage"]["total_tokens"] == PROMPT + ANSWER
        assert first.headers["x-ratelimit-limit-tokens"] == "100000"
        bound = 100_000 - int(first.headers["x-ratelimit-remaining-tokens"])
        assert bound > PROMPT + ANSWER
        until_settled(mesh, key)
        second = ask(client, SCRIPT)
        assert int(second.headers["x-ratelimit-remaining-tokens"]) == pytest.approx(
            100_000 - (PROMPT + ANSWER) - bound, abs=5
        )


def test_who_has_used_its_tokens_is_refused_and_told_when(mesh: LlmMesh) -> None:
    key = key_with(mesh, "2000/d")
    with mesh.client(key) as client:
        while (answer := ask(client, "words 400", max_tokens=500)).status_code == 200:
            until_settled(mesh, key)
        error = error_of(answer, 429)
        assert (error["code"], error["type"]) == ("rate_limit_exceeded", "tokens")
        assert f"key:{key.id} may use 2000 tokens a day" in error["message"]
        assert int(answer.headers["retry-after"]) > 0
    limit, remaining, reset = token_headers(answer)
    assert (limit, reset[-1]) == (2000, "s")
    assert 0 <= remaining < 1000
    # A token comes back in 43.2 seconds, so it takes hours until all have.
    assert re.fullmatch(r"\d+h\d+m[\d.]+s", reset)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PATH, chat(SCRIPT, max_tokens=5000)),
        ("/v1/responses", {"model": "llm", "input": SCRIPT, "max_output_tokens": 5000}),
        ("/v1/completions", {"model": "llm", "prompt": SCRIPT, "max_tokens": 5000}),
        (EMBEDDINGS, {"model": "embed-small", "input": ["many words " * 9] * 200}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_who_asks_for_more_than_there_ever_is_is_told_what_is_left(
    mesh: LlmMesh, path: str, body: dict[str, Any], *, stream: bool
) -> None:
    key = key_with(mesh, "1000/m", budget="1000/month")
    streamed = {"stream": True} if stream and path != EMBEDDINGS else {}
    with mesh.client(key) as client:
        refused = client.post(path, json={**body, **streamed})
        assert error_of(refused, 429)["type"] == "tokens"
        assert token_headers(refused) == (1000, 1000, "0s")
        assert ask(client, SCRIPT).status_code == 200
        until_settled(mesh, key)
        limit, remaining, reset = token_headers(client.post(path, json=body))
    assert limit == 1000
    # Of 7 tokens one comes back in 60 ms.
    assert 990 < remaining < 1000 or reset == "0s"
    assert re.fullmatch(r"0s|\d+ms", reset)
    # What was only looked at is not taken.
    assert reserved(mesh, key) == 0


def test_a_budget_that_is_used_up_tells_of_tokens_where_they_are_limited(mesh: LlmMesh) -> None:
    both = key_with(mesh, "90000/d", budget="0.20/month")
    with mesh.client(both) as client:
        never = ask(client, SCRIPT, max_tokens=20_000)
        assert error_of(never, 429)["type"] == "insufficient_quota"
        assert token_headers(never) == (90_000, 90_000, "0s")
        assert ask(client, "words 100", max_tokens=100).status_code == 200
        until_settled(mesh, both)
        until(lambda: spent(mesh, both) == (0, cost(2, 100)), "the settlement")
        now = ask(client, "words 100", max_tokens=100)
        assert error_of(now, 429)["type"] == "insufficient_quota"
        assert "the budget has no room" in error_of(now, 429)["message"]
        limit, remaining, reset = token_headers(now)
        assert limit == 90_000
        assert remaining == pytest.approx(90_000 - 102, abs=20)
        assert re.fullmatch(r"\d+m[\d.]+s", reset)
    budget = key_with(mesh, budget="0.01/month")
    with mesh.client(budget) as client:
        refused = ask(client, SCRIPT, max_tokens=20_000)
        assert error_of(refused, 429)["type"] == "insufficient_quota"
        assert "x-ratelimit-limit-tokens" not in refused.headers


def test_embeddings_reserve_and_settle_too(mesh: LlmMesh) -> None:
    key = key_with(mesh, "100/d", budget="10/month")
    with mesh.client(key) as client:
        body = {"model": "embed-small", "input": "two words"}
        answer = client.post(EMBEDDINGS, json=body)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-ratelimit-limit-tokens"] == "100"
        until_settled(mesh, key)
        assert spent(mesh, key) == (0, cost(2, 0))
        refused = client.post(EMBEDDINGS, json={**body, "input": ["many words " * 3] * 20})
        assert error_of(refused, 429)["type"] == "tokens"
    assert spent(mesh, key) == (0, cost(2, 0))


@pytest.mark.parametrize(
    ("model", "remedy"),
    [("embedder", "send POST /v1/embeddings"), ("llm", "send POST /v1/chat/completions")],
)
@pytest.mark.parametrize("path", ["", "/versions/stand-in-1"])
def test_tensors_do_not_pass_by_the_limits(
    mesh: LlmMesh, model: str, remedy: str, path: str
) -> None:
    key = key_with(mesh, "1000/d", budget="10/month")
    url = f"/v2/models/{model}{path}/infer"
    with mesh.client(key) as client:
        message = refusal(infer(client, url, inputs=[text("two words")]), 404)
        assert message.startswith(f"the {model} takes no tensors here")
        assert remedy in message
        assert client.get("/v2/models").json() == {"models": []}
    assert (used(mesh, key), spent(mesh, key)) == (Usage(), (0, 0))
    stranger = httpx.post(f"{mesh.gateway.url}{url}", json={"inputs": [text("two words")]})
    assert "takes no tensors" not in refusal(stranger, 401)


def test_a_request_that_never_fits_is_told_so_at_once(mesh: LlmMesh) -> None:
    key = key_with(mesh, "1000/m")
    with mesh.client(key) as client:
        answer = ask(client, SCRIPT, max_tokens=5000)
        assert "too large for its limit" in error_of(answer, 429)["message"]
        assert answer.headers["x-should-retry"] == "false"
        assert "retry-after" not in answer.headers


def test_a_request_without_its_own_most_is_cut_to_what_the_limit_holds(mesh: LlmMesh) -> None:
    key = key_with(mesh, "1000/d")
    with mesh.client(key) as client:
        answer = client.post(PATH, json=chat("words 3000"))
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["finish_reason"] == "length"
        assert answer.json()["usage"]["total_tokens"] <= 1000


def test_a_request_without_its_own_most_gets_what_is_left(mesh: LlmMesh) -> None:
    key = key_with(mesh, "4000/d", budget="5/month")
    answers = []
    with mesh.client(key) as client:
        for _ in range(20):
            answers.append(client.post(PATH, json=chat("words 1000")))
            if answers[-1].status_code != 200:
                break
            until_settled(mesh, key)
    lengths = [each.json()["usage"]["total_tokens"] for each in answers[:-1]]
    assert lengths[:2] == [1002, 1002]
    assert 4000 - 1200 <= sum(lengths) <= 4000
    assert error_of(answers[-1], 429)["type"] in {"tokens", "insufficient_quota"}
    assert spent(mesh, key)[1] <= 5 * 10**9


def test_a_budget_bounds_a_request_without_its_own_most(mesh: LlmMesh) -> None:
    key = key_with(mesh, budget="1/month")
    with mesh.client(key) as client:
        first = client.post(PATH, json=chat("words 300"))
        assert first.status_code == 200, first.text
        until(lambda: spent(mesh, key) == (0, cost(2, 300)), "the settlement")
        second = client.post(PATH, json=chat("words 3000"))
        assert second.json()["choices"][0]["finish_reason"] == "length"
        until(lambda: spent(mesh, key)[0] == 0, "the settlement")
        assert spent(mesh, key)[1] <= 10**9
        refused = client.post(PATH, json=chat("words 3000"))
        assert "may cost" in error_of(refused, 429)["message"]


def test_a_model_has_a_limit_of_its_own(mesh: LlmMesh) -> None:
    key = key_with(mesh, "100000/d", "llm-terse=1500/d")
    with mesh.client(key) as client:
        statuses = []
        for _ in range(3):
            answer = ask(client, "words 400", max_tokens=800, model="llm-terse")
            statuses.append(answer.status_code)
            until_settled(mesh, key)
        assert statuses[0] == 200
        assert statuses[-1] == 429
        assert ask(client, SCRIPT).status_code == 200


def test_the_keys_of_a_tenant_share_its_tokens_and_its_budget(mesh: LlmMesh) -> None:
    shared = Tenant("both", None, Allowance.parse(["3000/d"], ["100/day"]))
    mesh.in_store(lambda store: store.set_tenant(shared))
    keys = [key_with(mesh, tenant="both") for _ in range(2)]
    refused = None
    for number in range(20):
        with mesh.client(keys[number % 2]) as client:
            answer = ask(client, "words 400", max_tokens=600)
        if answer.status_code != 200:
            refused = answer
            break
    assert refused is not None
    assert "tenant:both may use 3000 tokens a day" in error_of(refused, 429)["message"]


def test_a_budget_cuts_off_and_warns_before(mesh: LlmMesh) -> None:
    key = key_with(mesh, budget="0.20/month:0.05")
    with mesh.client(key) as client:
        first = ask(client, SCRIPT)
        assert first.status_code == 200
        # What is reserved counts.
        assert re.fullmatch(rf"key:{key.id} month 0\.\d\d", first.headers[names.BUDGET_WARNING])
        until(lambda: spent(mesh, key) == (0, cost(PROMPT, ANSWER)), "the settlement")
        refused = ask(client, SCRIPT, max_tokens=10_000)
        error = error_of(refused, 429)
        assert (error["code"], error["type"]) == ("insufficient_quota", "insufficient_quota")
        assert f"key:{key.id} may spend 0.20 a month" in error["message"]
        assert refused.headers["x-should-retry"] == "false"


def test_settled_on_error_disconnect_and_timeout_alike(mesh: LlmMesh) -> None:
    key = key_with(mesh, "1000000/d", budget="1000/month")
    with mesh.client(key) as client:
        # An error within an answer: what came before it is charged.
        assert ask(client, "say one two; fail Internal").status_code == 500
        # A caller that leaves after two deltas.
        body = chat("say one two; wait", stream=True, max_tokens=10)
        with client.stream("POST", PATH, json=body) as stream:
            events = stream.iter_lines()
            while "two" not in next(events):
                pass
        # A deadline that passes.
        late = {names.REQUEST_TIMEOUT_MS: "1500"}
        body = chat("say one; wait", max_tokens=10)
        assert client.post(PATH, json=body, headers=late).status_code == 504
        # Refused by the service before anything was generated.
        assert ask(client, "refuse temperature is too hot").status_code == 400
        assert ask(client, SCRIPT).status_code == 200
    until(lambda: spent(mesh, key)[0] == 0, "the settlement")
    prompts, answers = 5 + 4 + 3 + PROMPT, 2 + 2 + 1 + ANSWER
    assert spent(mesh, key) == (0, cost(prompts, answers))
    until(lambda: used(mesh, key).requests == 5, "the ledger")
    usage = used(mesh, key)
    assert (usage.prompt_tokens, usage.completion_tokens) == (prompts, answers)
    assert usage.charged_nanos == cost(prompts, answers)
    assert usage.cpu_ms > 1000  # most of it while the deadline passed


def test_a_request_costs_two_trips(mesh: LlmMesh) -> None:
    key = key_with(mesh, "1000000/d", budget="1000/month")
    with mesh.client(key) as client:
        assert ask(client, SCRIPT).status_code == 200  # the key is remembered from here on
        until_settled(mesh, key)
        until(lambda: used(mesh, key).requests == 1, "the ledger")
        with Redis.from_url(mesh.redis.url) as redis:
            before = redis.info("commandstats")["cmdstat_evalsha"]["calls"]
            assert ask(client, SCRIPT).status_code == 200
            until_settled(mesh, key)
            until(lambda: used(mesh, key).requests == 2, "the ledger")
            calls = redis.info("commandstats")["cmdstat_evalsha"]["calls"] - before
    # Reserved and settled by the gateway, settled and written down by the llm.
    assert calls <= 4


def test_the_limits_of_requests_hold_in_the_same_trip(mesh: LlmMesh) -> None:
    allowance = Allowance.parse(["1000000/d"], [])
    key = mesh.make_key(scopes=frozenset({"llm"}), allowance=allowance, rate=Rate(3, "h", 3))
    with mesh.client(key) as client:
        first = ask(client, SCRIPT)
        assert first.headers["ratelimit"].startswith('"key";r=2;t=')
        assert client.post(PATH, content=b"{").status_code == 400  # counts too
        third = ask(client, SCRIPT)
        assert third.headers["x-ratelimit-remaining-requests"] == "0"
        assert third.headers["x-ratelimit-remaining-tokens"]
        for body in (b"{", b"[]"):
            refused = client.post(PATH, content=body)
            error = error_of(refused, 429)
            assert (error["code"], error["type"]) == ("rate_limit_exceeded", "requests")
    until_settled(mesh, key)


def test_the_ledger_knows_whose_use_it_is(mesh: LlmMesh) -> None:
    keys = [key_with(mesh, tenant=tenant) for tenant in ("shop", "other")]
    for key in keys:
        with mesh.client(key) as client:
            assert ask(client, SCRIPT).status_code == 200
            assert ask(client, SCRIPT, model="llm-terse").status_code == 200
    until(lambda: all(used(mesh, key).requests == 2 for key in keys), "the ledger")
    rows = {(row.tenant, row.key_id, row.model, row.source) for row in ledger(mesh)}
    for key, tenant in zip(keys, ("shop", "other"), strict=True):
        for model in ("llm", "llm-terse"):
            assert (tenant, key.id, model, Source.LOCAL) in rows


def test_no_id_of_a_caller_is_in_a_metric(mesh: LlmMesh) -> None:
    key = key_with(mesh, "1000000/d", budget="1000/month", tenant="unmistakable")
    with mesh.client(key) as client:
        assert ask(client, SCRIPT).status_code == 200
    page = mesh.gateway.metrics()
    assert 'mesh_token_reservations_total{mesh_reservation_outcome="passed"}' in page
    assert key.id not in page
    assert "unmistakable" not in page
