"""What the official client sees when a process dies under a stream."""

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai import OpenAI, Stream
from openai.types.chat import ChatCompletionChunk
from scripted_mesh import ScriptedMesh
from test_chat import MODEL, user

pytestmark = pytest.mark.full
SLOW = "pause 20\nwords 100000"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[ScriptedMesh]:
    """A mesh to be hurt."""
    with ScriptedMesh(tmp_path) as started:
        yield started


@pytest.fixture
def begun(own: ScriptedMesh) -> Iterator[Stream[ChatCompletionChunk]]:
    """A stream that has begun to speak."""
    with (
        OpenAI(base_url=f"{own.url}/v1", api_key=own.key, max_retries=0) as client,
        client.chat.completions.create(model=MODEL, messages=user(SLOW), stream=True) as stream,
    ):
        assert any(chunk.choices[0].delta.content for chunk in stream)
        yield stream


def test_a_model_that_is_killed_ends_the_stream_with_an_error(
    own: ScriptedMesh, begun: Stream[ChatCompletionChunk]
) -> None:
    own.llm.kill()
    with pytest.raises(openai.APIError) as caught:
        list(begun)
    assert caught.value.type == "server_error"
    assert caught.value.body is not None


def test_a_model_that_comes_back_is_asked_again(own: ScriptedMesh) -> None:
    own.llm.kill()
    with OpenAI(base_url=f"{own.url}/v1", api_key=own.key, max_retries=0) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model=MODEL, messages=user("say Hello."))
        assert caught.value.status_code == 503
        own.llm.start()
        patient = client.with_options(max_retries=30)
        answer = patient.chat.completions.create(model=MODEL, messages=user("say Hello."))
    assert answer.choices[0].message.content == "Hello."


def test_a_gateway_that_is_killed_breaks_the_stream_off(
    own: ScriptedMesh, begun: Stream[ChatCompletionChunk]
) -> None:
    own.gateway.kill()
    # Nothing can be said any more: no end of the stream either, which would look like success.
    with pytest.raises((openai.APIConnectionError, openai.APIError)):
        list(begun)
