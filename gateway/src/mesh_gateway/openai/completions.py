"""`POST /v1/completions`: texts in, their continuations out; the older way to generate."""

import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import msgspec

from mesh.common.v1 import common_pb2
from mesh.llm.v1 import llm_pb2
from mesh_gateway.admission import Target
from mesh_gateway.direct import Body
from mesh_gateway.exchange import Exchange
from mesh_gateway.openai import decoding, to_llm
from mesh_gateway.openai.answers import Growing, Usage, completion_choice
from mesh_gateway.openai.chunks import DONE, CompletionChunks, joined
from mesh_gateway.openai.door import Door, rendered
from mesh_gateway.openai.generating import Ask, Asker
from mesh_gateway.openai.generation_route import Begun
from mesh_gateway.openai.requests import CompletionRequest
from mesh_gateway.openai.responses import Completion
from mesh_gateway.openai.routing import Candidate, Facts
from mesh_gateway.streaming import event
from mesh_gateway.token_bounds import of_completion
from meshkit.errors import MeshError
from meshkit.scopes import PREDICT

PATH: Final = "/v1/completions"
_TARGET: Final = Target("llm", PREDICT)
_METHOD: Final = "mesh.llm.v1.LlmService/Complete"
_decoder: Final = msgspec.json.Decoder(CompletionRequest)
_encode: Final = msgspec.json.Encoder().encode


@dataclass(slots=True)
class _Progress:
    """How far the prompts of a request have come.

    Attributes:
        lineage: of the first answer; empty before it.
        used: tokens so far, over all prompts.
    """

    lineage: common_pb2.Lineage = field(default_factory=common_pb2.Lineage)
    used: Usage = field(default_factory=Usage)


class Completions:
    """Has the llm complete texts.

    Args:
        door: what the routes of this API share.
    """

    def __init__(self, door: Door) -> None:
        self._door = door

    @asynccontextmanager
    async def begin(self, exchange: Exchange, body: Body) -> AsyncIterator[Begun]:
        """Begins the answer to a request; as `generation_route.Begin`."""
        door = self._door
        async with door.admitted(exchange, _TARGET) as asker:
            request = await decoding.decode(_decoder, await body())
            messages = to_llm.completions(request)
            facts = Facts(asker.caller.key_id, False, lambda: sum(len(m.text) for m in messages))
            candidates = await door.router.candidates(request.model, facts)
            asks = [_ask(message, repeatable=request.temperature == 0) for message in messages]
            progress = _Progress()
            deltas = self._deltas(asks, request.n or 1, candidates, asker, progress)
            yield _Begun(request, deltas, progress)

    async def _deltas(
        self,
        asks: Sequence[Ask[llm_pb2.CompleteResponse]],
        choices: int,
        candidates: Sequence[Candidate],
        asker: Asker,
        progress: _Progress,
    ) -> AsyncGenerator[tuple[int, llm_pb2.CompleteDelta], None]:
        """What the choices of all prompts grow by, with the index of each over all of them.

        One prompt after the other: each is a request of its own to the llm, and who sends many
        takes no more of it than who sends one.
        """
        before = Usage()
        try:
            for place, ask in enumerate(asks):
                async with self._door.generator.begun(ask, candidates, asker) as generation:
                    if place == 0:
                        progress.lineage = generation.lineage
                        self._door.remember(asker, generation.lineage)
                    async with aclosing(generation.batches()) as batches:
                        async for responses in batches:
                            progress.used = before.plus(generation.used)
                            for response in responses:
                                if response.HasField("delta"):
                                    yield place * choices + response.delta.choice, response.delta
                before = progress.used
        except MeshError as error:
            if before != Usage():  # a repetition would generate once more what there was
                error.retryable = False
            raise


def _ask(message: llm_pb2.CompleteRequest, *, repeatable: bool) -> Ask[llm_pb2.CompleteResponse]:
    return Ask(
        method=_METHOD,
        request=message,
        response=llm_pb2.CompleteResponse.FromString,
        bound=lambda context_tokens: of_completion(message, context_tokens),
        param_of=to_llm.param_of,
        repeatable=repeatable,
    )


@dataclass(frozen=True, slots=True)
class _Begun:
    """Completions that the llm makes; as `generation_route.Begun`."""

    request: CompletionRequest
    deltas: AsyncGenerator[tuple[int, llm_pb2.CompleteDelta], None]
    progress: _Progress

    @property
    def stream(self) -> bool:
        return bool(self.request.stream)

    async def whole(self) -> bytes:
        choices: dict[int, Growing] = {}
        async with aclosing(self.deltas) as deltas:
            async for index, delta in deltas:
                choices.setdefault(index, Growing(index)).add_completion(delta)
        answer = Completion(
            id=_new_id(),
            created=int(time.time()),
            model=self.request.model,
            choices=[
                completion_choice(choice.whole, logprobs=self.request.logprobs is not None)
                for _, choice in sorted(choices.items())
            ],
            usage=self.progress.used.shown,
            system_fingerprint=self.progress.lineage.version,
        )
        return _encode(answer)

    async def events(self) -> AsyncGenerator[bytes, None]:
        request, progress = self.request, self.progress
        with_usage = bool(request.stream_options and request.stream_options.include_usage)
        chunks: CompletionChunks | None = None
        async with aclosing(self.deltas) as deltas:
            async for index, delta in deltas:
                if chunks is None:
                    chunks = CompletionChunks(_head(request, progress), with_usage=with_usage)
                if made := chunks.of(delta, index):
                    yield joined(made)
        if with_usage and chunks is not None:
            yield event(chunks.usage(progress.used))
        yield event(DONE)

    def error(self, error: MeshError) -> bytes:
        return rendered(error)


def _head(request: CompletionRequest, progress: _Progress) -> dict[str, object]:
    return {
        "id": _new_id(),
        "object": "text_completion",
        "created": int(time.time()),
        "model": request.model,
        "system_fingerprint": progress.lineage.version,
    }


def _new_id() -> str:
    return f"cmpl-{secrets.token_hex(12)}"
