"""`POST /v1/chat/completions`: a conversation in, its continuation out, whole or as it grows."""

import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import msgspec
from starlette.types import Receive, Scope, Send

from mesh.llm.v1 import llm_pb2
from mesh_gateway import bodies
from mesh_gateway.admission import Target
from mesh_gateway.openai import decoding, to_llm
from mesh_gateway.openai.answers import Growing, chat_choice
from mesh_gateway.openai.chunks import DONE, ChatChunks, joined
from mesh_gateway.openai.door import Door, rendered
from mesh_gateway.openai.generating import Ask, Generation
from mesh_gateway.openai.requests import ChatCompletionRequest
from mesh_gateway.openai.responses import ChatCompletion
from mesh_gateway.openai.routing import Facts
from mesh_gateway.streaming import send_events
from mesh_gateway.token_bounds import of_chat
from meshkit.scopes import PREDICT

PATH: Final = "/v1/chat/completions"
_TARGET: Final = Target("llm", PREDICT)
_METHOD: Final = "mesh.llm.v1.LlmService/Chat"
_decoder: Final = msgspec.json.Decoder(ChatCompletionRequest)
_encode: Final = msgspec.json.Encoder().encode
_Generation = Generation[llm_pb2.ChatResponse]


class Chat:
    """Answers the route.

    Args:
        door: what the routes of this API share.
    """

    def __init__(self, door: Door) -> None:
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        door = self._door
        async with door.admitted(scope, _TARGET) as asker:
            request = await decoding.decode(_decoder, await bodies.read(receive))
            message = to_llm.chat(request)
            facts = Facts(asker.caller.key_id, bool(request.tools), lambda: _characters(message))
            candidates = await door.router.candidates(request.model, facts)
            ask = Ask(
                method=_METHOD,
                request=message,
                response=llm_pb2.ChatResponse.FromString,
                bound=lambda context_tokens: of_chat(message, context_tokens),
                repeatable=request.temperature == 0,
            )
            async with door.generator.begun(ask, candidates, asker) as generation:
                door.remember(asker, generation.lineage)
                if request.stream:
                    await send_events(
                        send,
                        _events(request, generation),
                        render_error=rendered,
                        idle_timeout_s=door.idle_timeout_s,
                    )
                else:
                    with asker.exchange.calling():
                        answer = await _answer(request, generation)
                    await bodies.respond(send, _encode(answer))


def _characters(message: llm_pb2.ChatRequest) -> int:
    """Characters of all that was said."""
    return sum(len(part.text) for each in message.messages for part in each.content)


async def _answer(request: ChatCompletionRequest, generation: _Generation) -> ChatCompletion:
    choices: dict[int, Growing] = {}
    async with aclosing(generation.batches()) as batches:
        async for responses in batches:
            for response in responses:
                index = response.delta.choice
                if response.HasField("delta"):
                    choices.setdefault(index, Growing(index)).add_chat(response.delta)
    return ChatCompletion(
        id=_new_id(),
        created=int(time.time()),
        model=request.model,
        choices=[
            chat_choice(choice.whole, logprobs=bool(request.logprobs))
            for _, choice in sorted(choices.items())
        ],
        usage=generation.used.shown,
        system_fingerprint=generation.lineage.version,
    )


async def _events(
    request: ChatCompletionRequest, generation: _Generation
) -> AsyncGenerator[bytes, None]:
    with_usage = bool(request.stream_options and request.stream_options.include_usage)
    head = {
        "id": _new_id(),
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": request.model,
        "system_fingerprint": generation.lineage.version,
    }
    chunks = ChatChunks(head, with_usage=with_usage)
    async with aclosing(generation.batches()) as batches:
        async for responses in batches:
            made: list[bytes] = []
            for response in responses:
                if response.HasField("delta"):
                    made += chunks.of(response.delta)
            if made:
                yield joined(made)
    if with_usage:
        yield chunks.usage(generation.used)
    yield DONE


def _new_id() -> str:
    return f"chatcmpl-{secrets.token_hex(12)}"
