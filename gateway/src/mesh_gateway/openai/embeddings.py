"""`POST /v1/embeddings`: texts in, their vectors out."""

import base64
import re
import struct
from typing import Final

import msgspec

from mesh.embedding.v1 import embedding_pb2
from mesh.embedding.v1.embedding_pb2_grpc import EmbeddingServiceStub
from mesh_gateway.admission import Target
from mesh_gateway.direct import Body
from mesh_gateway.exchange import Exchange
from mesh_gateway.metering import Metering
from mesh_gateway.openai import decoding, to_llm
from mesh_gateway.openai.door import Door
from mesh_gateway.openai.requests import EmbeddingRequest
from mesh_gateway.openai.responses import Embedding, EmbeddingList, EmbeddingUsage
from mesh_gateway.token_bounds import of_embedding
from meshkit.client import Client
from meshkit.errors import FieldViolation, Internal, InvalidArgument
from meshkit.scopes import PREDICT

PATH: Final = "/v1/embeddings"
_TARGET: Final = Target("embedder", PREDICT)
_INPUTS: Final = re.compile(r"\binputs\b")
_decoder: Final = msgspec.json.Decoder(EmbeddingRequest)
_encode: Final = msgspec.json.Encoder().encode


class Embeddings:
    """Answers the route.

    Args:
        door: what the routes of this API share.
        embedder: client of the service.
        metering: reserves and settles.
    """

    def __init__(self, door: Door, embedder: Client, metering: Metering) -> None:
        self._door = door
        self._embedder = embedder
        self._stub = embedder.stub(EmbeddingServiceStub)
        self._metering = metering

    async def __call__(self, exchange: Exchange, body: Body) -> bytes:
        """Answers one request."""
        door = self._door
        async with door.admitted(exchange, _TARGET) as asker:
            request = await decoding.decode(_decoder, await body())
            message = _message(request, door.router.embedding_model(request.model))
            served = door.catalog.of(self._embedder)
            bound = of_embedding(message, served.context_tokens if served else 0)
            async with self._metering.reserve(
                asker.caller, message.model, bound, asker.exchange
            ) as reserved:
                asker.told.reserved(reserved)
                with asker.exchange.calling():
                    answer = await self._embed(message)
                reserved.used(answer.usage.tokens, 0)
            asker.told.answered(message.model, answer.lineage)
            door.remember(asker, answer.lineage)
            return _encode(_response(request, answer))

    async def _embed(self, message: embedding_pb2.EmbedRequest) -> embedding_pb2.EmbedResponse:
        try:
            answer: embedding_pb2.EmbedResponse = await self._stub.Embed(message)
        except InvalidArgument as error:
            raise _as_asked(error) from error
        return answer


def _message(request: EmbeddingRequest, model: str) -> embedding_pb2.EmbedRequest:
    message = embedding_pb2.EmbedRequest(
        model=model,
        dimensions=request.dimensions,
        # An answer of this API has no place to say that only a beginning counted.
        truncation=embedding_pb2.TRUNCATION_REFUSE,
    )
    for given in to_llm.inputs(request.input, "input"):
        if isinstance(given, str):
            message.inputs.add(text=given)
        else:
            message.inputs.add().token_ids.ids.extend(given)
    return message


def _response(request: EmbeddingRequest, answer: embedding_pb2.EmbedResponse) -> EmbeddingList:
    as_text = request.encoding_format == "base64"
    return EmbeddingList(
        data=[_embedding(each, index, as_text) for index, each in enumerate(answer.results)],
        model=request.model,
        usage=EmbeddingUsage(answer.usage.tokens, answer.usage.tokens),
    )


def _embedding(result: embedding_pb2.EmbedResult, index: int, as_text: bool) -> Embedding:
    if result.HasField("error"):
        # This API has no way to say that one of several has no answer.
        raise Internal(
            f"input[{index}] has no embedding: {result.error.message}", reason=result.error.reason
        )
    values = result.embedding.values
    if not as_text:
        return Embedding(index, list(values))
    packed = struct.pack(f"<{len(values)}f", *values)
    return Embedding(index, base64.b64encode(packed).decode())


def _as_asked(error: InvalidArgument) -> InvalidArgument:
    """An error of the embedder's in the words of this API."""
    return InvalidArgument(
        _INPUTS.sub("input", error.message),
        reason=error.reason,
        violations=[
            FieldViolation(_INPUTS.sub("input", each.field), each.description)
            for each in error.violations
        ],
        metadata=error.metadata,
    )
