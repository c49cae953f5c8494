"""Completions and the list of models, as the official client has them."""

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from test_chat import MODEL


def test_a_text_is_continued(client: OpenAI) -> None:
    answer = client.completions.create(model=MODEL, prompt="say one two", logprobs=1)
    assert answer.object == "text_completion"
    assert answer.id.startswith("cmpl-")
    (choice,) = answer.choices
    assert (choice.index, choice.text, choice.finish_reason) == (0, "one two", "stop")
    assert choice.logprobs is not None
    assert choice.logprobs.tokens == ["one ", "two"]
    assert choice.logprobs.token_logprobs == [-0.25, -0.25]
    assert choice.logprobs.text_offset == [0, 4]
    assert answer.usage is not None
    assert answer.usage.total_tokens == 5


async def test_a_continuation_is_streamed(asynchronous: AsyncOpenAI) -> None:
    stream = await asynchronous.completions.create(
        model=MODEL,
        prompt="say one two",
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    texts = [choice.text for chunk in chunks for choice in chunk.choices]
    assert "".join(texts) == "one two"
    reasons = [choice.finish_reason for chunk in chunks for choice in chunk.choices]
    assert reasons[-1] == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 2


def test_every_prompt_has_its_choices(client: OpenAI) -> None:
    answer = client.completions.create(model=MODEL, prompt=["say one", "say two"], n=2)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert [choice.text for choice in answer.choices] == ["one", "one", "two", "two"]


def test_a_prompt_may_be_tokens(client: OpenAI) -> None:
    answer = client.completions.create(model=MODEL, prompt=[7, 8, 9])
    assert answer.choices[0].text == "7 8 9"


def test_the_length_is_sixteen_unless_it_is_said(client: OpenAI) -> None:
    answer = client.completions.create(model=MODEL, prompt="words 50")
    assert answer.choices[0].finish_reason == "length"
    assert len(answer.choices[0].text.split()) == 16


def test_models_are_listed(client: OpenAI) -> None:
    models = {model.id: model for model in client.models.list()}
    assert {MODEL, "llm-terse"} <= set(models)
    assert models[MODEL].object == "model"
    assert models[MODEL].owned_by == "llm"
    assert isinstance(models[MODEL].created, int)


def test_a_model_is_found_by_its_name(client: OpenAI) -> None:
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("weather")
    assert caught.value.code == "model_not_found"
