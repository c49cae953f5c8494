"""`POST /v1/chat/completions`: a conversation in, its continuation out, whole or as it grows."""

import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import msgspec

from mesh_gateway.openai import decoding, to_llm
from mesh_gateway.openai.answers import Growing, chat_choice, deltas
from mesh_gateway.openai.chunks import DONE, ChatChunks, joined
from mesh_gateway.openai.conversation import Answer, Conversation, Conversations
from mesh_gateway.openai.door import Door, rendered
from mesh_gateway.openai.generation_route import Begin
from mesh_gateway.openai.requests import ChatCompletionRequest
from mesh_gateway.openai.responses import ChatCompletion
from mesh_gateway.streaming import event
from meshkit.errors import MeshError

PATH: Final = "/v1/chat/completions"
_decoder: Final = msgspec.json.Decoder(ChatCompletionRequest)


def begin(door: Door) -> Begin:
    """What begins the answers of the route.

    Args:
        door: what the routes of this API share.
    """
    return Conversations(door, _read).begin


async def _read(body: bytes) -> Conversation:
    request = await decoding.decode(_decoder, body)
    return Conversation(
        model=request.model,
        message=to_llm.chat(request),
        param_of=to_llm.chat_params(request),
        stream=bool(request.stream),
        renderer=_Renderer(request),
    )


class _Renderer:
    """Tells an answer as a chat completion, or in its chunks."""

    def __init__(self, request: ChatCompletionRequest) -> None:
        self._request = request
        self._id = f"chatcmpl-{secrets.token_hex(12)}"
        self._created = int(time.time())

    async def whole(self, answer: Answer) -> ChatCompletion:
        choices: dict[int, Growing] = {}
        async with aclosing(answer.batches()) as batches:
            async for responses in batches:
                for delta in deltas(responses):
                    index = delta.choice
                    choices.setdefault(index, Growing(index)).add_chat(delta)
        return ChatCompletion(
            id=self._id,
            created=self._created,
            model=self._request.model,
            choices=[
                chat_choice(choice.whole, logprobs=bool(self._request.logprobs))
                for _, choice in sorted(choices.items())
            ],
            usage=answer.used.shown,
            system_fingerprint=answer.lineage.version,
        )

    async def events(self, answer: Answer) -> AsyncGenerator[bytes, None]:
        options = self._request.stream_options
        with_usage = bool(options and options.include_usage)
        chunks = ChatChunks(self._head(answer), with_usage=with_usage)
        async with aclosing(answer.batches()) as batches:
            async for responses in batches:
                made: list[bytes] = []
                for delta in deltas(responses):
                    made += chunks.of(delta)
                if made:
                    yield joined(made)
        if with_usage:
            yield event(chunks.usage(answer.used))
        yield event(DONE)

    def error(self, error: MeshError) -> bytes:
        return rendered(error)

    def _head(self, answer: Answer) -> dict[str, object]:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._request.model,
            "system_fingerprint": answer.lineage.version,
        }
