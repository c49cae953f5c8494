"""What is wrong, as the exceptions of the official client, and what it tries again by itself."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import openai
import pytest
from openai import DefaultHttpxClient, OpenAI
from scripted_mesh import ScriptedMesh
from test_chat import MODEL, user

Ask = Callable[[str], Any]


@contextmanager
def counting(
    mesh: ScriptedMesh, key: str | None = None, **options: Any
) -> Iterator[tuple[OpenAI, list[httpx2.Response]]]:
    """A client, and the responses that it has had, those that it kept to itself among them."""
    seen: list[httpx2.Response] = []
    http = DefaultHttpxClient(event_hooks={"response": [seen.append]})
    with OpenAI(
        base_url=f"{mesh.url}/v1", api_key=key or mesh.key, http_client=http, **options
    ) as client:
        yield client, seen


def body(error: openai.APIStatusError) -> dict[str, Any]:
    """The error object; all of its four keys are there."""
    found: dict[str, Any] = error.response.json()["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return found


def test_a_key_that_is_none_is_401_and_is_not_tried_again(mesh: ScriptedMesh) -> None:
    with (
        counting(mesh, "sk-nonsense") as (client, seen),
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.chat.completions.create(model=MODEL, messages=user("say Hi."))
    assert caught.value.status_code == 401
    assert caught.value.code == "invalid_api_key"
    assert body(caught.value)["type"] == "invalid_request_error"
    assert len(seen) == 1


def test_a_key_without_the_scope_is_403(mesh: ScriptedMesh) -> None:
    narrow = mesh.command("keys", "create", "narrow", "--scope", "classifier").strip()
    with (
        counting(mesh, narrow) as (client, seen),
        pytest.raises(openai.PermissionDeniedError),
    ):
        client.chat.completions.create(model=MODEL, messages=user("say Hi."))
    assert len(seen) == 1


def test_an_unknown_model_is_404(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="weather", messages=user("say Hi."))
    assert caught.value.code == "model_not_found"
    assert caught.value.type == "invalid_request_error"
    assert "weather" in caught.value.message
    assert caught.value.request_id


@pytest.mark.parametrize(
    ("wrong", "param", "code"),
    [
        ({"messages": []}, "messages", "empty_array"),
        ({"temperature": 3}, "temperature", None),
        ({"messages": [{"role": "wizard", "content": "Hi."}]}, "messages[0].role", None),
        ({"n": 0}, "n", None),
        ({"stream": "yes"}, "stream", None),
        ({"no_such_parameter": 1}, "no_such_parameter", None),
        ({"modalities": ["audio"]}, "modalities", "unsupported_parameter"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_wrong_with_a_request_is_400_and_named(
    client: OpenAI, wrong: dict[str, Any], param: str, code: str | None
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model=MODEL, messages=user("say Hi."), extra_body=wrong, extra_headers={}
        )
    found = body(caught.value)
    assert found["type"] == "invalid_request_error"
    assert found["param"] == param
    if code:
        assert found["code"] == code


def test_what_may_pass_is_tried_again_after_the_time_that_was_named(mesh: ScriptedMesh) -> None:
    with counting(mesh, max_retries=1) as (client, seen):
        began = time.monotonic()
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model=MODEL, messages=user("fail Unavailable"))
    assert caught.value.status_code == 503
    assert [each.status_code for each in seen] == [503, 503]
    assert int(seen[0].headers["retry-after"]) >= 1
    assert time.monotonic() - began >= int(seen[0].headers["retry-after-ms"]) / 1000
    attempts = [each.request.headers["x-stainless-retry-count"] for each in seen]
    assert attempts == ["0", "1"]


def test_a_fault_of_the_model_is_500_without_its_secret_and_is_not_tried_again(
    mesh: ScriptedMesh,
) -> None:
    with (
        counting(mesh) as (client, seen),
        pytest.raises(openai.InternalServerError) as caught,
    ):
        client.chat.completions.create(model=MODEL, messages=user("fault"))
    assert caught.value.status_code == 500
    assert body(caught.value)["type"] == "server_error"
    assert "secret" not in caught.value.message
    assert [each.headers["x-should-retry"] for each in seen] == ["false"]


def test_a_limit_is_429_and_the_client_waits_as_long_as_it_must(mesh: ScriptedMesh) -> None:
    limited = mesh.command("keys", "create", "slow", "--rate", "1/s").strip()
    with counting(mesh, limited, max_retries=5) as (client, seen):
        for _ in range(2):
            client.chat.completions.create(model=MODEL, messages=user("say Hi."))
    refused = [each for each in seen if each.status_code == 429]
    assert refused
    assert [each.status_code for each in seen if each not in refused] == [200, 200]
    for each in refused:
        assert each.json()["error"]["code"] == "rate_limit_exceeded"
        assert each.json()["error"]["type"] == "requests"
        assert int(each.headers["retry-after"]) >= 1
    told = seen[0].headers
    assert (told["x-ratelimit-limit-requests"], told["x-ratelimit-remaining-requests"]) == (
        "1",
        "0",
    )
    assert told["x-ratelimit-reset-requests"].endswith("s")


def test_a_limit_of_tokens_is_told_before_it_is_reached_and_when_it_is(mesh: ScriptedMesh) -> None:
    limited = mesh.command("keys", "create", "few", "--token-rate", "3000/d").strip()
    with counting(mesh, limited, max_retries=0) as (client, seen):
        client.chat.completions.create(
            model=MODEL, messages=user("words 1500"), max_completion_tokens=1500
        )
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(
                model=MODEL, messages=user("words 1500"), max_completion_tokens=1500
            )
    told, refused = (each.headers for each in seen)
    assert told["x-ratelimit-limit-tokens"] == "3000"
    assert 0 < int(told["x-ratelimit-remaining-tokens"]) < 1500
    assert told["x-ratelimit-reset-tokens"].endswith("s")
    found = body(caught.value)
    assert (found["type"], found["code"]) == ("tokens", "rate_limit_exceeded")
    assert int(refused["retry-after"]) >= 1


def test_a_budget_that_is_used_up_is_not_tried_again(mesh: ScriptedMesh) -> None:
    poor = mesh.command("keys", "create", "poor", "--budget", "0.0001/day").strip()
    with counting(mesh, poor) as (client, seen):
        client.chat.completions.create(
            model=MODEL, messages=user("words 1000"), max_completion_tokens=1000
        )
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(
                model=MODEL, messages=user("words 1000"), max_completion_tokens=1000
            )
    assert [each.status_code for each in seen] == [200, 429]
    found = body(caught.value)
    assert (found["type"], found["code"]) == ("insufficient_quota", "insufficient_quota")


def test_an_error_amid_a_stream_is_raised_where_it_came(client: OpenAI) -> None:
    said: list[str] = []
    stream = client.chat.completions.create(
        model=MODEL, messages=user("say one two\nfail Unavailable"), stream=True
    )
    with pytest.raises(openai.APIError) as caught:
        said.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert "".join(said) == "one two"
    assert caught.value.type == "server_error"
    assert caught.value.message


def test_an_error_before_a_stream_has_begun_is_a_plain_one(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model=MODEL, messages=user("refuse max_tokens is beyond the context"), stream=True
        )
    assert "is beyond the context" in caught.value.message


def test_a_caller_that_closes_a_stream_ends_the_generation(
    client: OpenAI, mesh: ScriptedMesh
) -> None:
    with client.chat.completions.create(
        model=MODEL, messages=user("for ever"), stream=True
    ) as stream:
        next(iter(stream))
    gateway = mesh.gateway
    mesh.until(lambda: gateway.metric("mesh_client_outstanding") == 0, "nothing is under way")


def test_a_time_limit_of_the_caller_ends_the_generation(mesh: ScriptedMesh) -> None:
    with (
        counting(mesh, timeout=0.5, max_retries=0) as (client, _),
        pytest.raises(openai.APITimeoutError),
    ):
        client.chat.completions.create(model=MODEL, messages=user("wait"))
    gateway = mesh.gateway
    mesh.until(lambda: gateway.metric("mesh_client_outstanding") == 0, "nothing is under way")
