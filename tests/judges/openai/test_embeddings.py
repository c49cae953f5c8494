"""Embeddings as the official client has them: it asks for base64 unless it is told otherwise."""

import math
from collections.abc import Sequence

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from scripted_mesh import trained_embedder

pytestmark = pytest.mark.skipif(
    trained_embedder() is None,
    reason="there is no embedder: `cli/mesh models train embedder` makes one",
)
MODEL = "embedder"
TEXTS = ["The ferry leaves at nine.", "The boat departs at 9 a.m.", "Basil needs a lot of sun."]


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """How alike two vectors are."""
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / math.hypot(*one) / math.hypot(*other)


def test_each_text_has_a_vector_in_their_order(client: OpenAI) -> None:
    answer = client.embeddings.create(model=MODEL, input=TEXTS)
    assert answer.object == "list"
    assert [each.index for each in answer.data] == [0, 1, 2]
    ferry, boat, basil = (each.embedding for each in answer.data)
    assert cosine(ferry, boat) > 0.6
    assert cosine(ferry, basil) < 0.3
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 15


def test_base64_and_numbers_are_the_same_vector(client: OpenAI) -> None:
    packed = client.embeddings.create(model=MODEL, input=TEXTS[0])
    plain = client.embeddings.create(model=MODEL, input=TEXTS[0], encoding_format="float")
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)


async def test_the_asynchronous_client_has_the_same(
    client: OpenAI, asynchronous: AsyncOpenAI
) -> None:
    theirs = await asynchronous.embeddings.create(model=MODEL, input=TEXTS)
    ours = client.embeddings.create(model=MODEL, input=TEXTS)
    for one, other in zip(theirs.data, ours.data, strict=True):
        assert cosine(one.embedding, other.embedding) > 0.9999


def test_tokens_are_taken_as_they_are(client: OpenAI) -> None:
    alone = client.embeddings.create(model=MODEL, input=[1996, 7435])
    listed = client.embeddings.create(model=MODEL, input=[[1996, 7435], [2009]])
    assert len(listed.data) == 2
    assert cosine(alone.data[0].embedding, listed.data[0].embedding) > 0.9999


@pytest.mark.parametrize(
    ("wrong", "param"),
    [({"input": []}, "input"), ({"input": [""]}, None), ({"dimensions": 7}, "dimensions")],
)
def test_what_is_wrong_is_400(client: OpenAI, wrong: dict[str, object], param: str | None) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model=MODEL, input=TEXTS, extra_body=wrong)
    assert caught.value.type == "invalid_request_error"
    assert param is None or caught.value.param == param


def test_a_model_that_is_no_embedder_is_404(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.embeddings.create(model="weather", input=TEXTS)
    assert caught.value.code == "model_not_found"
