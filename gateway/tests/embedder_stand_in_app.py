"""What the stand-in for the embedder serves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from embedder_stand_in import Settings
from mesh.common.v1 import common_pb2
from mesh.embedding.v1 import embedding_pb2, embedding_pb2_grpc
from meshkit.errors import InvalidArgument, NotFound
from meshkit.run import App
from meshkit.server import GrpcServer, Service
from stand_in_errors import error_of

MODEL: Final = "embed-small"
DIMENSIONS: Final = 3
MAX_TOKENS: Final = 8


class StandIn(embedding_pb2_grpc.EmbeddingServiceServicer):
    """Embeds without a model; some texts have an effect of their own."""

    def __init__(self, settings: Settings) -> None:
        self._lineage = common_pb2.Lineage(
            model="embedder",
            version="stand-in-1",
            variant=settings.variant,
            run="none",
            deployment=settings.deployment,
        )

    async def Embed(  # noqa: N802  # named by the contract
        self, request: embedding_pb2.EmbedRequest, context: object
    ) -> embedding_pb2.EmbedResponse:
        if request.model not in ("", MODEL):
            raise NotFound(f"model is {request.model!r}", reason="MODEL_NOT_FOUND")
        if request.HasField("dimensions") and request.dimensions != DIMENSIONS:
            raise InvalidArgument.of_field(
                "dimensions", f"is {request.dimensions} and this model has {DIMENSIONS}"
            )
        results = [
            _result(each, index, request.truncation) for index, each in enumerate(request.inputs)
        ]
        tokens = sum(each.embedding.tokens for each in results)
        return embedding_pb2.EmbedResponse(
            results=results,
            lineage=self._lineage,
            usage=embedding_pb2.EmbedUsage(tokens=tokens),
        )

    async def GetModel(  # noqa: N802  # named by the contract
        self, request: embedding_pb2.GetModelRequest, context: object
    ) -> embedding_pb2.GetModelResponse:
        return embedding_pb2.GetModelResponse(
            lineage=self._lineage,
            name=MODEL,
            dimensions=DIMENSIONS,
            allowed_dimensions=[DIMENSIONS],
            max_tokens=MAX_TOKENS,
            max_inputs=256,
        )


def _result(
    given: embedding_pb2.EmbedInput, index: int, truncation: int
) -> embedding_pb2.EmbedResult:
    is_text = given.WhichOneof("input") == "text"
    text = given.text if is_text else " ".join(str(each) for each in given.token_ids.ids)
    if wanted := error_of(text):
        raise wanted
    if text == "item error":
        error = common_pb2.ItemError(code=13, reason="MODEL_FAILED", message="the model failed")
        return embedding_pb2.EmbedResult(error=error)
    tokens = len(text.split())
    if not tokens:
        raise InvalidArgument.of_field(f"inputs[{index}]", "is empty; send some words")
    if tokens > MAX_TOKENS and truncation == embedding_pb2.TRUNCATION_REFUSE:
        raise InvalidArgument.of_field(
            f"inputs[{index}]", f"has {tokens} tokens and may have {MAX_TOKENS}; send less"
        )
    embedding = embedding_pb2.Embedding(
        values=[len(text), tokens, 0.5], truncated=tokens > MAX_TOKENS, tokens=tokens
    )
    return embedding_pb2.EmbedResult(embedding=embedding)


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[App]:
    add = embedding_pb2_grpc.add_EmbeddingServiceServicer_to_server
    yield App(servers=[GrpcServer(settings, [Service(add, StandIn(settings))])])
