"""`POST /v1/embeddings`, as a client of OpenAI's API sees it."""

import base64
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from llm_mesh import RoutedMesh, error_of

PATH = "/v1/embeddings"
MODEL = "embed-small"


@pytest.fixture
def client(llm_mesh: RoutedMesh) -> Iterator[httpx.Client]:
    with llm_mesh.client() as opened:
        yield opened


def test_an_embedding(client: httpx.Client) -> None:
    answer = client.post(PATH, json={"model": MODEL, "input": "two words"})
    assert answer.status_code == 200
    assert answer.json() == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [9.0, 2.0, 0.5]}],
        "model": MODEL,
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    }
    assert answer.headers["x-mesh-model"] == MODEL
    assert answer.headers["x-mesh-version"] == "stand-in-1"
    assert answer.headers["x-ratelimit-limit-requests"] == "1000"


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        ("a bc", [4]),
        (["a", "bc", "def"], [1, 2, 3]),
        ([1, 22], [4]),
        ([[1], [22, 3]], [1, 4]),
    ],
)
@pytest.mark.parametrize("form", ["float", "base64", None])
def test_inputs_and_forms(
    client: httpx.Client, given: Any, sizes: list[int], form: str | None
) -> None:
    more = {"encoding_format": form} if form else {}
    body = client.post(PATH, json={"model": MODEL, "input": given, **more}).json()
    assert [each["index"] for each in body["data"]] == list(range(len(sizes)))
    found = [each["embedding"] for each in body["data"]]
    if form == "base64":
        found = [list(struct.unpack("<3f", base64.b64decode(each))) for each in found]
    assert [each[0] for each in found] == sizes


def test_another_name_of_the_model(client: httpx.Client) -> None:
    answer = client.post(PATH, json={"model": "text-embedding-3-small", "input": "a"})
    assert answer.json()["model"] == "text-embedding-3-small"
    assert answer.headers["x-mesh-model"] == MODEL
    listed = {each["id"]: each["owned_by"] for each in client.get("/v1/models").json()["data"]}
    assert listed[MODEL] == listed["text-embedding-3-small"] == "embedder"


@pytest.mark.parametrize(
    ("more", "param", "code"),
    [
        ({"input": []}, "input", "empty_array"),
        ({"input": ""}, "input[0]", None),
        ({"input": ["a", ""]}, "input[1]", None),
        ({"input": ["a", 1]}, "input[1]", "invalid_type"),
        ({"input": 1}, "input", "invalid_type"),
        ({"input": ["a", "b " * 9]}, "input[1]", None),
        ({"dimensions": 5}, "dimensions", None),
        ({"dimensions": 0}, "dimensions", "integer_below_min_value"),
        ({"encoding_format": "hex"}, "encoding_format", "invalid_value"),
        ({"size": 5}, "size", "unknown_parameter"),
    ],
)
def test_a_request_that_is_wrong(
    client: httpx.Client, more: dict[str, Any], param: str, code: str | None
) -> None:
    answer = client.post(PATH, json={"model": MODEL, "input": "a", **more})
    error = error_of(answer, 400)
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    assert "inputs" not in error["message"]


def test_what_else_goes_wrong(client: httpx.Client, llm_mesh: RoutedMesh) -> None:
    answer = client.post(PATH, json={"model": "gpt-9", "input": "a"})
    assert error_of(answer, 404)["code"] == "model_not_found"
    answer = client.post(PATH, json={"model": MODEL, "input": ["a", "item error"]})
    assert error_of(answer, 500)["message"].startswith("input[1] has no embedding")
    answer = client.post(PATH, json={"model": MODEL, "input": "raise Unavailable"})
    assert error_of(answer, 503)["type"] == "server_error"
    with llm_mesh.client(llm_mesh.make_key(scopes=frozenset({"llm"}))) as other:
        answer = other.post(PATH, json={"model": MODEL, "input": "a"})
        assert error_of(answer, 403)["code"] == "scope_missing"
