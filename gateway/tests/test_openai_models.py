"""`GET /v1/models`, and what becomes of the names that requests may have."""

from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from llm_mesh import RoutedMesh, chat, error_of

PATH = "/v1/models"
CHAT = "/v1/chat/completions"


@pytest.fixture
def client(llm_mesh: RoutedMesh) -> Iterator[httpx.Client]:
    with llm_mesh.client() as opened:
        yield opened


def answered(answer: httpx.Response) -> str:
    """What has answered."""
    assert answer.status_code == 200, answer.text
    return answer.headers["x-mesh-model"]


def test_every_model_that_a_key_may_use(client: httpx.Client, llm_mesh: RoutedMesh) -> None:
    body = client.get(PATH).json()
    assert body["object"] == "list"
    listed = {each["id"]: each["owned_by"] for each in body["data"]}
    of_llm = ["llm", "llm-terse", "large", "gpt-4o-mini", "careful", "halves", "auto"]
    of_embedder = ["embed-small", "text-embedding-3-small"]
    assert listed == dict.fromkeys(of_llm, "llm") | dict.fromkeys(of_embedder, "embedder")
    for each in body["data"]:
        assert each["object"] == "model"
    assert next(iter(body["data"]))["created"] > 1_700_000_000
    with llm_mesh.client(llm_mesh.make_key()) as other:  # for the classifier alone
        assert other.get(PATH).json() == {"object": "list", "data": []}


def test_one_model(client: httpx.Client) -> None:
    listed = {each["id"]: each for each in client.get(PATH).json()["data"]}
    assert client.get(f"{PATH}/llm-terse").json() == listed["llm-terse"]
    for name in ("gpt-9", "some/model"):
        assert error_of(client.get(f"{PATH}/{name}"), 404)["code"] == "model_not_found"


def test_who_shows_no_key_learns_nothing(llm_mesh: RoutedMesh) -> None:
    for path in (PATH, f"{PATH}/llm"):
        refused = httpx.get(f"{llm_mesh.gateway.url}{path}")
        assert error_of(refused, 401)["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    ("asked_for", "model"), [("llm-terse", "llm-terse"), ("large", "large"), ("llm", "llm")]
)
def test_a_name_goes_where_it_is_served(client: httpx.Client, asked_for: str, model: str) -> None:
    answer = client.post(CHAT, json={**chat("hi"), "model": asked_for})
    assert answered(answer) == model
    assert answer.json()["model"] == asked_for


def test_the_next_one_answers_where_the_first_is_away(client: httpx.Client) -> None:
    answer = client.post(CHAT, json={**chat("hi"), "model": "gpt-4o-mini"})
    assert answered(answer) == "llm"
    assert answer.json()["model"] == "gpt-4o-mini"


def test_the_next_one_answers_where_the_first_sheds_load(
    client: httpx.Client, llm_mesh: RoutedMesh
) -> None:
    """The second one fails too, as it plays the same script; but it was asked."""
    begun = llm_mesh.large.counts()["begun"]
    answer = client.post(CHAT, json={**chat("fail Overloaded"), "model": "careful"})
    error_of(answer, 503)
    assert llm_mesh.large.counts()["begun"] == begun + 1


def test_nobody_else_answers_a_request_that_is_wrong(
    client: httpx.Client, llm_mesh: RoutedMesh
) -> None:
    begun = llm_mesh.large.counts()["begun"]
    answer = client.post(CHAT, json={**chat("refuse messages are wrong"), "model": "careful"})
    assert error_of(answer, 400)["param"] == "messages"
    answer = client.post(CHAT, json={**chat("say a; fail Overloaded"), "model": "careful"})
    error_of(answer, 503)
    assert llm_mesh.large.counts()["begun"] == begun


def test_a_key_stays_with_its_part_of_a_split(llm_mesh: RoutedMesh) -> None:
    seen: Counter[str] = Counter()
    for _ in range(12):
        key = llm_mesh.make_key(scopes=frozenset({"llm"}))
        with llm_mesh.client(key) as client:
            body = {**chat("hi"), "model": "halves"}
            (model,) = {answered(client.post(CHAT, json=body)) for _ in range(3)}
            seen[model] += 1
    assert set(seen) == {"llm", "large"}


def test_rules_look_at_tools_and_at_the_prompt(client: httpx.Client) -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    body = {**chat("hi"), "model": "auto"}
    assert answered(client.post(CHAT, json=body)) == "llm-terse"
    assert answered(client.post(CHAT, json={**body, "tools": [tool]})) == "llm"
    long = {**chat("say " + "x" * 1000), "model": "auto"}
    assert answered(client.post(CHAT, json=long)) == "large"


def test_completions_go_the_same_way(client: httpx.Client) -> None:
    body = {"model": "gpt-4o-mini", "prompt": "hi"}
    assert answered(client.post("/v1/completions", json=body)) == "llm"
