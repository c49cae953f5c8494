"""An upstream's thoughts: in fields of their own, or between tags in its content."""

from typing import Any

import pytest

from mesh.llm.v1 import llm_pb2
from serving import TIMEOUT_S, request, said, serve
from upstream import Upstream, answer, content, usage


def field(name: str, text: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {name: text}}]}


async def heard(upstream: Upstream, chunks: list[Any], **settings: str) -> list[llm_pb2.ChatDelta]:
    upstream.will(answer(chunks))
    async with serve(upstream.url, **settings) as service:
        messages = await said(service.stub.Chat(request(), timeout=TIMEOUT_S))
    return [message.delta for message in messages]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_fields_of_their_own(upstream: Upstream, name: str) -> None:
    chunks = [field(name, "Where"), field(name, "?"), content("There.", reason="stop")]
    deltas = await heard(upstream, [*chunks, usage(7, 3)])
    assert [delta.reasoning for delta in deltas] == ["Where", "?", "", ""]
    assert "".join(delta.content for delta in deltas) == "There."


async def test_tags_in_the_content_are_parted_where_that_is_set(upstream: Upstream) -> None:
    pieces = ["<th", "ink>Where", "?</", "think>\n\nTh", "ere."]
    chunks = [*map(content, pieces), content("", reason="stop"), usage(7, 5)]
    deltas = await heard(upstream, chunks, reasoning_format="think")
    assert "".join(delta.reasoning for delta in deltas) == "Where?"
    assert "".join(delta.content for delta in deltas) == "There."
    deltas = await heard(upstream, chunks)
    assert "".join(delta.content for delta in deltas) == "".join(pieces)


async def test_the_model_says_how_thoughts_are_told(upstream: Upstream) -> None:
    for setting, told in {"auto": "upstream", "think": "think", "none": ""}.items():
        async with serve(upstream.url, reasoning_format=setting) as service:
            model = await service.stub.GetModel(llm_pb2.GetModelRequest(), timeout=TIMEOUT_S)
        assert (model.reasoning_format, model.tool_format) == (told, "upstream")
        assert model.models[0].tool_format == "upstream"
