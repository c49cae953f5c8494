"""The prompt cache: exactly the same request of the same tenant at temperature 0."""

import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from llm_mesh import RoutedMesh, chat, chunks
from mesh_gateway.openai.caching import CacheControl

PATH = "/v1/chat/completions"


@pytest.fixture
def client(llm_mesh: RoutedMesh) -> Iterator[httpx.Client]:
    with llm_mesh.client() as opened:
        yield opened


def once(script: str = "say a b", **more: Any) -> dict[str, Any]:
    """A request that nobody has made before; its seed changes nothing."""
    return chat(script, temperature=0, seed=secrets.randbelow(2**62), **more)


def outcome(answer: httpx.Response) -> str | None:
    assert answer.status_code == 200, answer.text
    said: str | None = answer.headers.get("x-mesh-cache")
    return said


def test_the_second_time_it_is_a_hit(client: httpx.Client, llm_mesh: RoutedMesh) -> None:
    body = once("think hm; say a b", logprobs=True, top_logprobs=1, n=2)
    first = client.post(PATH, json=body)
    assert outcome(first) == "miss"
    begun = llm_mesh.llm.counts()["begun"]
    second = client.post(PATH, json=body)
    assert outcome(second) == "hit"
    assert int(second.headers["age"]) >= 0
    assert llm_mesh.llm.counts()["begun"] == begun
    for name in ("choices", "usage", "model", "system_fingerprint"):
        assert first.json()[name] == second.json()[name]
    for name, value in first.headers.items():
        if name.startswith("x-mesh-") and name != "x-mesh-cache":
            assert second.headers[name] == value


@pytest.mark.parametrize("script", ["say a b", 'call f {"a": 1}; call g {}'])
def test_streams_and_whole_answers_share_what_is_kept(client: httpx.Client, script: str) -> None:
    body = once(script)
    whole = client.post(PATH, json=body).json()
    options = {"stream": True, "stream_options": {"include_usage": True}}
    streamed = client.post(PATH, json={**body, **options})
    assert outcome(streamed) == "hit"
    found = chunks(streamed.text)
    assert found[-1]["usage"] == whole["usage"]
    deltas = [each["choices"][0]["delta"] for each in found[:-1]]
    assert deltas[0] == {"role": "assistant", "content": "", "refusal": None}
    content = "".join(each.get("content") or "" for each in deltas)
    assert content == (whole["choices"][0]["message"]["content"] or "")
    arguments: dict[int, str] = {}
    for call in (call for each in deltas for call in each.get("tool_calls", ())):
        arguments.setdefault(call["index"], "")
        arguments[call["index"]] += call["function"]["arguments"]
    calls = whole["choices"][0]["message"].get("tool_calls", [])
    assert list(arguments.values()) == [each["function"]["arguments"] for each in calls]
    assert found[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]


def test_a_stream_is_kept_too(client: httpx.Client) -> None:
    body = once()
    assert outcome(client.post(PATH, json={**body, "stream": True})) == "miss"
    again = client.post(PATH, json=body)
    assert outcome(again) == "hit"
    assert again.json()["choices"][0]["message"]["content"] == "a b"


def test_completions_are_kept(client: httpx.Client) -> None:
    body = {"model": "llm", "prompt": ["say a", "say b"], "temperature": 0, "seed": 77}
    first = client.post("/v1/completions", json=body)
    second = client.post("/v1/completions", json=body)
    assert (outcome(first), outcome(second)) == ("miss", "hit")
    assert first.json()["choices"] == second.json()["choices"]


def test_only_temperature_0_is_looked_for(client: httpx.Client) -> None:
    for temperature in (None, 0.1):
        body = {**once(), "temperature": temperature}
        assert [outcome(client.post(PATH, json=body)) for _ in range(2)] == [None, None]


def test_another_tenant_has_another_answer(client: httpx.Client, llm_mesh: RoutedMesh) -> None:
    body = once()
    assert outcome(client.post(PATH, json=body)) == "miss"
    stranger = llm_mesh.make_key(tenant="another", scopes=frozenset({"llm"}))
    with llm_mesh.client(stranger) as other:
        assert outcome(other.post(PATH, json=body)) == "miss"
    colleague = llm_mesh.make_key(scopes=frozenset({"llm"}))
    with llm_mesh.client(colleague) as same:
        assert outcome(same.post(PATH, json=body)) == "hit"


@pytest.mark.parametrize(
    "other",
    [{"max_tokens": 5}, {"n": 2}, {"stop": "x"}, {"model": "llm-terse"}, {"logit_bias": {"1": 1}}],
)
def test_another_request_has_another_answer(client: httpx.Client, other: dict[str, Any]) -> None:
    body = once()
    assert outcome(client.post(PATH, json=body)) == "miss"
    assert outcome(client.post(PATH, json={**body, **other})) == "miss"


def test_callers_have_a_say(client: httpx.Client) -> None:
    body = once()
    unkept, anew = ({"cache-control": each} for each in ("no-store", "No-Cache"))
    assert outcome(client.post(PATH, json=body, headers=unkept)) == "miss"
    assert outcome(client.post(PATH, json=body)) == "miss"
    assert outcome(client.post(PATH, json=body, headers=anew)) == "miss"
    assert outcome(client.post(PATH, json=body, headers={"cache-control": "max-age=600"})) == "hit"
    assert outcome(client.post(PATH, json=body)) == "hit"


def test_what_broke_off_is_not_kept(client: httpx.Client) -> None:
    body = once("say a; fail Unavailable")
    for _ in range(2):
        assert client.post(PATH, json=body).status_code == 503
        text = client.post(PATH, json={**body, "stream": True}).text
        assert '"error"' in text


def test_a_tenant_has_so_many_and_no_more(llm_mesh: RoutedMesh) -> None:
    key = llm_mesh.make_key(tenant="crowded", scopes=frozenset({"llm"}))
    bodies = [once() for _ in range(10)]  # and a tenant has 8
    with llm_mesh.client(key) as client:
        assert {outcome(client.post(PATH, json=each)) for each in bodies} == {"miss"}
        assert outcome(client.post(PATH, json=bodies[-1])) == "hit"
        assert outcome(client.post(PATH, json=bodies[0])) == "miss"


@pytest.mark.parametrize(
    ("header", "control"),
    [
        (None, CacheControl()),
        (b"", CacheControl()),
        (b"no-cache", CacheControl(finds=False)),
        (b"No-Store", CacheControl(finds=False, keeps=False)),
        (b"max-age=60, max-age=5", CacheControl(most_age_s=5)),
        (b"max-age=soon, private", CacheControl()),
    ],
)
def test_cache_control(header: bytes | None, control: CacheControl) -> None:
    assert CacheControl.parse(header) == control
