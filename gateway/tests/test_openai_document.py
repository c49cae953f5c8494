"""What the OpenAPI document says of OpenAI's API, beside the parameters."""

from typing import Any

import httpx
import msgspec
import pytest
from jsonschema import Draft202012Validator

from llm_mesh import RoutedMesh, chat, chunks
from mesh_gateway.openai.chunk_schemas import ChatCompletionChunk, CompletionChunk

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
OPTIONS = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture
def document(llm_mesh: RoutedMesh) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{llm_mesh.gateway.url}/openapi.json").json()
    return found


@pytest.mark.parametrize("field", ["prompt", "input"])
@pytest.mark.parametrize(
    ("value", "valid"),
    [
        ("a", True),
        (["a", "b"], True),
        ([1, 2], True),
        ([[1], [2, 3]], True),
        ([], False),
        ([[]], False),
        (["a", 1], False),
        ([1, [1]], False),
        ([-1], False),
    ],
)
def test_inputs(document: dict[str, Any], field: str, value: Any, valid: bool) -> None:
    name = {"prompt": "CompletionRequest", "input": "EmbeddingRequest"}[field]
    assert is_valid(document, name, {"model": "llm", field: value}) is valid


@pytest.mark.parametrize(
    ("key", "valid"), [("0", True), ("17", True), ("a", False), ("-1", False), ("1.0", False)]
)
def test_keys_of_a_bias(
    llm_mesh: RoutedMesh, document: dict[str, Any], key: str, valid: bool
) -> None:
    body = chat("hi", logit_bias={key: 1})
    assert is_valid(document, "ChatCompletionRequest", body) is valid
    with llm_mesh.client() as client:
        assert client.post(CHAT, json=body).is_success is valid


@pytest.mark.parametrize(
    ("path", "last", "some"),
    [
        (CHAT, [{"const": "[DONE]"}], {"ChatCompletionChunk", "OpenAIError"}),
        (COMPLETIONS, [{"const": "[DONE]"}], {"CompletionChunk", "OpenAIError"}),
        ("/v1/responses", [], {"ResponseCreated", "OutputTextDelta", "ResponseError"}),
    ],
)
def test_a_stream_is_of_events(
    document: dict[str, Any], path: str, last: list[Any], some: set[str]
) -> None:
    content = document["paths"][path]["post"]["responses"]["200"]["content"]
    data = content["text/event-stream"]["schema"]["properties"]["data"]
    *done, told = data["anyOf"]
    assert done == last
    assert told["contentMediaType"] == "application/json"
    refs = {each["$ref"].rpartition("/")[2] for each in told["contentSchema"]["anyOf"]}
    assert some <= refs <= document["components"]["schemas"].keys()


@pytest.mark.parametrize(
    "script", ["think hm; say yes", 'say a; call weather {"city": "Paris"}', "finish length"]
)
def test_chunks_of_a_chat(llm_mesh: RoutedMesh, script: str) -> None:
    body = chat(script, logprobs=True, top_logprobs=2, n=2, **OPTIONS)
    with llm_mesh.client() as client:
        told = chunks(client.post(CHAT, json=body).text)
    assert msgspec.convert(told, list[ChatCompletionChunk])


def test_chunks_of_a_completion(llm_mesh: RoutedMesh) -> None:
    body = {"model": "llm", "prompt": ["say a b", "say c"], "logprobs": 2, **OPTIONS}
    with llm_mesh.client() as client:
        told = chunks(client.post(COMPLETIONS, json=body).text)
    assert msgspec.convert(told, list[CompletionChunk])


def is_valid(document: dict[str, Any], name: str, body: Any) -> bool:
    """Whether a body is what the document says."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return bool(Draft202012Validator(schema).is_valid(body))
