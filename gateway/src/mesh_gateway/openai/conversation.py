"""Continues conversations: one way from a body to the llm, whatever form they have."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import msgspec

from mesh.llm.v1 import llm_pb2
from mesh_gateway.admission import Target
from mesh_gateway.direct import Body
from mesh_gateway.exchange import Exchange
from mesh_gateway.openai.door import Door
from mesh_gateway.openai.generating import Ask, Asker, Generation
from mesh_gateway.openai.generation_route import Begun
from mesh_gateway.openai.params import ParamOf
from mesh_gateway.openai.routing import Facts
from mesh_gateway.token_bounds import of_chat
from meshkit.errors import MeshError
from meshkit.scopes import PREDICT

_TARGET: Final = Target("llm", PREDICT)
_METHOD: Final = "mesh.llm.v1.LlmService/Chat"
_encode: Final = msgspec.json.Encoder().encode
Answer: TypeAlias = Generation[llm_pb2.ChatResponse]
"""What the llm says."""


class Renderer(Protocol):
    """Tells a caller what the llm says, in the form of a route."""

    async def whole(self, answer: Answer) -> msgspec.Struct:
        """All of it, when it is there.

        Raises:
            MeshError: the answer has broken off.
        """

    def events(self, answer: Answer) -> AsyncGenerator[bytes, None]:
        """The events of a stream, as it grows.

        Raises:
            MeshError: the answer has broken off.
        """

    def error(self, error: MeshError) -> bytes:
        """The last event of a stream that has broken off."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a caller wants continued.

    Attributes:
        model: that was named.
        message: to the llm; the model is still to be named.
        param_of: the parameter that a field of the message was made of.
        stream: whether the answer is told as it grows.
        renderer: of the answer.
    """

    model: str
    message: llm_pb2.ChatRequest
    param_of: ParamOf
    stream: bool
    renderer: Renderer


@dataclass(frozen=True, slots=True)
class _Begun:
    """A conversation that the llm continues; as `generation_route.Begun`."""

    asker: Asker
    asked: Conversation
    answer: Answer

    @property
    def stream(self) -> bool:
        return self.asked.stream

    async def whole(self) -> bytes:
        with self.asker.exchange.calling():
            whole = await self.asked.renderer.whole(self.answer)
        return _encode(whole)

    def events(self) -> AsyncGenerator[bytes, None]:
        return self.asked.renderer.events(self.answer)

    def error(self, error: MeshError) -> bytes:
        return self.asked.renderer.error(error)


class Conversations:
    """Has the llm continue conversations.

    Args:
        door: what the routes of this API share.
        read: what a body asks for.
    """

    def __init__(self, door: Door, read: Callable[[bytes], Awaitable[Conversation]]) -> None:
        self._door = door
        self._read = read

    @asynccontextmanager
    async def begin(self, exchange: Exchange, body: Body) -> AsyncIterator[Begun]:
        """Begins the answer to a request; as `generation_route.Begin`."""
        door = self._door
        async with door.admitted(exchange, _TARGET) as asker:
            asked = await self._read(await body())
            message = asked.message
            facts = Facts(asker.caller.key_id, bool(message.tools), lambda: _characters(message))
            candidates = await door.router.candidates(asked.model, facts)
            async with door.generator.begun(_ask(asked), candidates, asker) as answer:
                door.remember(asker, answer.lineage)
                yield _Begun(asker, asked, answer)


def _ask(asked: Conversation) -> Ask[llm_pb2.ChatResponse]:
    message = asked.message
    sampling = message.sampling
    return Ask(
        method=_METHOD,
        request=message,
        response=llm_pb2.ChatResponse.FromString,
        bound=lambda context_tokens: of_chat(message, context_tokens),
        param_of=asked.param_of,
        repeatable=sampling.HasField("temperature") and sampling.temperature == 0,
    )


def _characters(message: llm_pb2.ChatRequest) -> int:
    """Characters of all that was said."""
    return sum(len(part.text) for each in message.messages for part in each.content)
