"""`POST /v1/completions`, as a client of OpenAI's API sees it."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from llm_mesh import RoutedMesh, chunks, error_of
from processes import until

PATH = "/v1/completions"


@pytest.fixture
def client(llm_mesh: RoutedMesh) -> Iterator[httpx.Client]:
    with llm_mesh.client() as opened:
        yield opened


def wanted(prompt: Any, **more: Any) -> dict[str, Any]:
    return {"model": "llm", "prompt": prompt, **more}


def test_a_completion(client: httpx.Client) -> None:
    answer = client.post(PATH, json=wanted("say a b", n=2))
    assert answer.headers["x-mesh-model"] == "llm"
    body = answer.json()
    assert body.pop("id").startswith("cmpl-")
    assert body.pop("created") > 1_700_000_000
    choice = {"text": "a b", "logprobs": None, "finish_reason": "stop"}
    assert body == {
        "object": "text_completion",
        "model": "llm",
        "system_fingerprint": "stand-in-1",
        "choices": [{"index": 0, **choice}, {"index": 1, **choice}],
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": 4,
            "total_tokens": 7,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        },
    }


def test_a_stream(client: httpx.Client) -> None:
    options = {"include_usage": True}
    answer = client.post(PATH, json=wanted("say a b", stream=True, stream_options=options))
    *rest, last = chunks(answer.text)
    choices = [each["choices"][0] for each in rest]
    assert [(each["text"], each["finish_reason"]) for each in choices] == [
        ("a ", None),
        ("b", None),
        ("", "stop"),
    ]
    assert {each["object"] for each in rest} == {"text_completion"}
    assert [each["usage"] for each in rest] == [None] * 3
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 5)


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ([1, 2, 3], ["1 2 3"]),
        ([[1, 2], [3]], ["1 2", "3"]),
        (["say a", "say b", "say c"], ["a", "b", "c"]),
        (["say a"], ["a"]),
    ],
)
def test_prompts(client: httpx.Client, prompt: Any, texts: list[str]) -> None:
    body = client.post(PATH, json=wanted(prompt)).json()
    assert [(each["index"], each["text"]) for each in body["choices"]] == list(enumerate(texts))
    streamed = ["" for _ in texts]
    for chunk in chunks(client.post(PATH, json=wanted(prompt, stream=True)).text):
        streamed[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
    assert streamed == texts


def test_several_choices_of_several_prompts(client: httpx.Client) -> None:
    body = client.post(PATH, json=wanted(["say a", "say b"], n=2)).json()
    assert [each["text"] for each in body["choices"]] == ["a", "a", "b", "b"]
    assert body["usage"]["prompt_tokens"] == 4
    assert body["usage"]["completion_tokens"] == 4


def test_logprobs(client: httpx.Client) -> None:
    told = {
        "tokens": ["é ", "b"],
        "token_logprobs": [-0.25, -0.25],
        "top_logprobs": [{"é ": -0.25, "other1": -2.5}, {"b": -0.25, "other1": -2.5}],
        "text_offset": [0, 2],
    }
    body = client.post(PATH, json=wanted("say é b", logprobs=2)).json()
    assert body["choices"][0]["logprobs"] == told
    found = chunks(client.post(PATH, json=wanted("say é b", logprobs=2, stream=True)).text)
    offsets = [each["choices"][0]["logprobs"] for each in found]
    assert [each and each["text_offset"] for each in offsets] == [[0], [2], None]


def test_sixteen_tokens_where_nothing_is_said(client: httpx.Client) -> None:
    body = client.post(PATH, json=wanted("words 20")).json()
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 16


def test_an_error_after_the_first_prompt(client: httpx.Client, llm_mesh: RoutedMesh) -> None:
    prompts = ["say a", "fail Unavailable"]
    answer = client.post(PATH, json=wanted(prompts))
    error_of(answer, 503)
    assert answer.headers["x-should-retry"] == "false"
    text = client.post(PATH, json=wanted(prompts, stream=True)).text
    assert json.loads(text.split("data: ")[-1])["error"]["code"] == "unavailable"
    assert "[DONE]" not in text
    until(llm_mesh.at_rest, "rest")
