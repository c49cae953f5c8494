"""The service's messages to the model's terms and back."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mesh.embedding.v1 import embedding_pb2, embedding_pb2_grpc
from mesh_embedder.inputs import Embedding, TokenIds, Wish
from mesh_embedder.model import Abilities, Embedder, tokens_of
from meshkit.errors import InvalidArgument, MeshError
from meshkit.lineage import Lineage
from meshkit.oip import Signature, TensorSpec
from meshkit.renderings import to_item_error
from meshkit.swap import Refusal

# Some 25 us each.
_RESULTS_AT_ONCE: Final = 64


def signature(dimensions: int) -> Signature:
    """The embedder as tensors: one row for each text."""
    return Signature(
        inputs=(TensorSpec("text", "BYTES", (-1,)),),
        outputs=(
            TensorSpec("embedding", "FP32", (-1, dimensions)),
            TensorSpec("truncated", "BOOL", (-1,)),
        ),
    )


@dataclass(frozen=True, slots=True)
class About:
    """What `GetModel` tells of the version that is serving."""

    lineage: Lineage
    abilities: Abilities
    precision: str
    metrics: dict[str, float]
    serving_since: datetime


@dataclass(frozen=True, slots=True)
class Served:
    """One loaded version: what answers, and what is told of it."""

    embedder: Embedder
    about: About


Lease = Callable[[], AbstractContextManager[Served]]
"""Keeps the version that is serving loaded inside, so that one version makes all of an answer."""


class EmbeddingServicer(embedding_pb2_grpc.EmbeddingServiceServicer):
    """mesh.embedding.v1.EmbeddingService."""

    def __init__(self, lease: Lease, refusal: Callable[[], Refusal | None]) -> None:
        self._lease = lease
        self._refusal = refusal

    async def Embed(  # noqa: N802  # the contract's name
        self, request: embedding_pb2.EmbedRequest, context: object
    ) -> embedding_pb2.EmbedResponse:
        """Embeds the inputs of a request."""
        with self._lease() as served:
            outcomes = await served.embedder.embed(
                request.model, _contents(request.inputs), _wish(request)
            )
            return embedding_pb2.EmbedResponse(
                results=await _results(outcomes),
                lineage=served.about.lineage.to_proto(),
                usage=embedding_pb2.EmbedUsage(tokens=tokens_of(outcomes)),
            )

    async def GetModel(  # noqa: N802  # the contract's name
        self, request: embedding_pb2.GetModelRequest, context: object
    ) -> embedding_pb2.GetModelResponse:
        """Describes the version that is serving."""
        with self._lease() as served:
            about = served.about
        abilities = about.abilities
        response = embedding_pb2.GetModelResponse(
            lineage=about.lineage.to_proto(),
            name=abilities.names[0],
            dimensions=abilities.dimensions,
            allowed_dimensions=abilities.allowed_dimensions,
            max_tokens=abilities.max_tokens,
            max_inputs=abilities.max_inputs,
            precision=about.precision,
            metrics=about.metrics,
            signature=signature(abilities.dimensions).to_proto(),
        )
        response.serving_since.FromDatetime(about.serving_since)
        if refusal := self._refusal():
            response.refused.CopyFrom(refusal.to_proto())
        return response


def _contents(inputs: Iterable[embedding_pb2.EmbedInput]) -> list[str | TokenIds]:
    return [_content(index, each) for index, each in enumerate(inputs)]


def _content(index: int, each: embedding_pb2.EmbedInput) -> str | TokenIds:
    kind = each.WhichOneof("input")
    if kind == "text":
        return each.text
    if kind == "token_ids":
        return each.token_ids.ids
    raise InvalidArgument.of_field(f"inputs[{index}]", "is unset; send text or token_ids")


def _wish(request: embedding_pb2.EmbedRequest) -> Wish:
    return Wish(
        dimensions=request.dimensions if request.HasField("dimensions") else None,
        max_tokens=request.max_tokens if request.HasField("max_tokens") else None,
        truncate=_truncates(request.truncation),
    )


def _truncates(rule: int) -> bool:
    if rule == embedding_pb2.TRUNCATION_REFUSE:
        return False
    if rule in (embedding_pb2.TRUNCATION_UNSPECIFIED, embedding_pb2.TRUNCATION_END):
        return True
    raise InvalidArgument.of_field(
        "truncation", f"is {rule}, which is none of its values; send TRUNCATION_END or _REFUSE"
    )


async def _results(outcomes: Sequence[Embedding | MeshError]) -> list[embedding_pb2.EmbedResult]:
    """The results, made in shares: those of a large request would hold up everybody else's."""
    results: list[embedding_pb2.EmbedResult] = []
    for start in range(0, len(outcomes), _RESULTS_AT_ONCE):
        results += [_result(each) for each in outcomes[start : start + _RESULTS_AT_ONCE]]
        await asyncio.sleep(0)
    return results


def _result(outcome: Embedding | MeshError) -> embedding_pb2.EmbedResult:
    if isinstance(outcome, MeshError):
        return embedding_pb2.EmbedResult(error=to_item_error(outcome))
    return embedding_pb2.EmbedResult(
        embedding=embedding_pb2.Embedding(
            values=outcome.values.tolist(), truncated=outcome.truncated, tokens=outcome.tokens
        )
    )
