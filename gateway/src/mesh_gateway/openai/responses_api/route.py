"""`POST /v1/responses`: a conversation in, its continuation out, whole or as it grows."""

import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import msgspec
from msgspec.structs import replace

from mesh_gateway import streaming
from mesh_gateway.openai import decoding
from mesh_gateway.openai.answers import Usage, deltas
from mesh_gateway.openai.conversation import Answer, Conversation, Conversations
from mesh_gateway.openai.door import Door
from mesh_gateway.openai.generation_route import Begin
from mesh_gateway.openai.responses import ErrorFacts
from mesh_gateway.openai.responses_api import to_llm
from mesh_gateway.openai.responses_api.events import (
    Event,
    ResponseCompleted,
    ResponseCreated,
    ResponseError,
    ResponseIncomplete,
    ResponseInProgress,
)
from mesh_gateway.openai.responses_api.output import Output
from mesh_gateway.openai.responses_api.requests import ResponseRequest, TextConfig
from mesh_gateway.openai.responses_api.responses import (
    IncompleteDetails,
    InputTokensDetails,
    OutputTokensDetails,
    Response,
    ResponseUsage,
)
from meshkit.errors import MeshError
from meshkit.renderings import to_openai

PATH: Final = "/v1/responses"
_decoder: Final = msgspec.json.Decoder(ResponseRequest)
_encode: Final = msgspec.json.Encoder().encode
_CUT: Final = {
    "length": IncompleteDetails("max_output_tokens"),
    "content_filter": IncompleteDetails("content_filter"),
}


def begin(door: Door) -> Begin:
    """What begins the answers of the route.

    Args:
        door: what the routes of this API share.
    """
    return Conversations(door, _read).begin


async def _read(body: bytes) -> Conversation:
    request = await decoding.decode(_decoder, body)
    message, param_of = to_llm.chat(request)
    return Conversation(
        model=request.model,
        message=message,
        param_of=param_of,
        stream=bool(request.stream),
        renderer=_Renderer(_begun(request)),
    )


class _Renderer:
    """Tells an answer as a response, or in its events.

    Args:
        begun: the response, of which nothing is there yet.
    """

    def __init__(self, begun: Response) -> None:
        self._begun = begun
        self._sent = 0

    async def whole(self, answer: Answer) -> Response:
        output = Output(lambda event: None)
        async with aclosing(answer.batches()) as batches:
            async for responses in batches:
                for delta in deltas(responses):
                    output.grow(delta)
        output.end()
        return self._ended(output, answer.used)

    async def events(self, answer: Answer) -> AsyncGenerator[bytes, None]:
        told: list[Event] = [
            ResponseCreated(response=self._begun),
            ResponseInProgress(response=self._begun),
        ]
        output = Output(told.append)
        async with aclosing(answer.batches()) as batches:
            async for responses in batches:
                for delta in deltas(responses):
                    output.grow(delta)
                if told:
                    yield self._sendable(told)
        output.end()
        response = self._ended(output, answer.used)
        ended = ResponseCompleted if response.status == "completed" else ResponseIncomplete
        told.append(ended(response=response))
        yield self._sendable(told)

    def error(self, error: MeshError) -> bytes:
        facts = ErrorFacts(**to_openai(error)["error"])
        failed = ResponseError(
            code=facts.code, message=facts.message, param=facts.param, error=facts
        )
        return self._sendable([failed])

    def _sendable(self, told: list[Event]) -> bytes:
        """Events that are sent together, which are then told."""
        for number, event in enumerate(told, self._sent):
            event.sequence_number = number
        self._sent += len(told)
        sendable = b"".join(streaming.event(_encode(each), each.kind.encode()) for each in told)
        told.clear()
        return sendable

    def _ended(self, output: Output, used: Usage) -> Response:
        cut = _CUT.get(output.finish_reason or "")
        return replace(
            self._begun,
            status="incomplete" if cut else "completed",
            incomplete_details=cut,
            output=output.items,
            usage=_usage(used),
        )


def _begun(request: ResponseRequest) -> Response:
    parallel = request.parallel_tool_calls
    return Response(
        id=f"resp_{secrets.token_hex(24)}",
        created_at=int(time.time()),
        status="in_progress",
        model=request.model,
        instructions=request.instructions,
        max_output_tokens=request.max_output_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        top_logprobs=request.top_logprobs,
        text=request.text or TextConfig(),
        tools=request.tools or [],
        tool_choice=request.tool_choice or "auto",
        parallel_tool_calls=True if parallel is None else parallel,
        metadata=request.metadata or {},
    )


def _usage(used: Usage) -> ResponseUsage:
    return ResponseUsage(
        input_tokens=used.prompt_tokens,
        input_tokens_details=InputTokensDetails(used.cached_prompt_tokens),
        output_tokens=used.completion_tokens,
        output_tokens_details=OutputTokensDetails(),
        total_tokens=used.prompt_tokens + used.completion_tokens,
    )
