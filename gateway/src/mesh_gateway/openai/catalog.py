"""What the deployments serve, as they say it themselves; remembered for some seconds."""

import asyncio
import contextvars
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from mesh.embedding.v1 import embedding_pb2
from mesh.embedding.v1.embedding_pb2_grpc import EmbeddingServiceStub
from mesh.llm.v1 import llm_pb2
from mesh.llm.v1.llm_pb2_grpc import LlmServiceStub
from meshkit import deadline
from meshkit.client import Client
from meshkit.deadline import Deadline
from meshkit.errors import MeshError

FRESH_S: Final = 5.0
"""How long what a deployment has said counts without asking again."""
_MOST_S: Final = 2.0
# A deployment that is away goes on being known by its models: who names one is told that it is
# away, and not that there is no such model.
_KNOWN_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Served:
    """What a deployment serves.

    Attributes:
        service: the service that it is of.
        names: of its models.
        version: of the model.
        since: since when it serves, in seconds since 1970.
        context_tokens: most tokens of prompt and answer together; 0 where that is not known.
    """

    service: str
    names: Sequence[str]
    version: str
    since: int
    context_tokens: int = 0


@dataclass(slots=True)
class _Entry:
    """What is remembered of a deployment."""

    client: Client
    served: Served | None = None
    answered_s: float = field(default=float("-inf"))


class Catalog:
    """Asks the deployments, each once in a while, and only when somebody wants to know.

    Args:
        llms: the clients of the llm's deployments, by name.
        embedder: the client of the embedder.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        llms: Mapping[str, Client],
        embedder: Client,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._llms = {name: _Entry(client) for name, client in llms.items()}
        self._embedder = _Entry(embedder)
        self._clock = clock
        self._asked_s = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    async def all(self) -> Sequence[Served]:
        """What every deployment serves that is known."""
        await self._refreshed()
        return [each.served for each in self._entries() if each.served is not None]

    async def deployment_of(self, model: str) -> str | None:
        """The first deployment of the llm that serves a model; None where none is known to."""
        if found := self._deployment_of(model):
            self._refresh()
            return found
        await self._refreshed()
        return self._deployment_of(model)

    def of(self, client: Client) -> Served | None:
        """What the deployment of a client serves, as it last said; None while nobody knows."""
        self._refresh()
        return next((each.served for each in self._entries() if each.client is client), None)

    def context_tokens(self, client: Client) -> int:
        """Most tokens of prompt and answer together of its model; 0 while nobody knows."""
        served = self.of(client)
        return served.context_tokens if served else 0

    async def close(self) -> None:
        """Ends what is being asked."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    def _deployment_of(self, model: str) -> str | None:
        for name, entry in self._llms.items():
            if entry.served and model in entry.served.names:
                return name
        return None

    async def _refreshed(self) -> None:
        if asking := self._refresh():
            # Who leaves while it is asked takes the answer from nobody else.
            await asyncio.shield(asking)

    def _refresh(self) -> asyncio.Task[None] | None:
        """Begins to ask, where what is known is old; what is being asked."""
        busy = self._asking is not None and not self._asking.done()
        if not busy and self._clock() >= self._asked_s + FRESH_S:
            # Whoever happens to ask: it is nobody's request.
            self._asking = asyncio.create_task(self._ask(), context=contextvars.Context())
            busy = True
        return self._asking if busy else None

    async def _ask(self) -> None:
        asked = [_ask_llm(each) for each in self._llms.values()]
        found = await asyncio.gather(*asked, _ask_embedder(self._embedder))
        now_s = self._asked_s = self._clock()
        for entry, served in zip(self._entries(), found, strict=True):
            if served is not None:
                entry.served, entry.answered_s = served, now_s
            elif now_s > entry.answered_s + _KNOWN_S:
                entry.served = None

    def _entries(self) -> Iterator[_Entry]:
        yield from self._llms.values()
        yield self._embedder


async def _ask_llm(entry: _Entry) -> Served | None:
    stub = entry.client.stub(LlmServiceStub)
    try:
        with deadline.scope(Deadline.after(_MOST_S)):
            answer: llm_pb2.GetModelResponse = await stub.GetModel(llm_pb2.GetModelRequest())
    except MeshError:
        return None
    return Served(
        service="llm",
        names=[each.name for each in answer.models],
        version=answer.lineage.version,
        since=answer.serving_since.seconds,
        context_tokens=answer.max_context_tokens,
    )


async def _ask_embedder(entry: _Entry) -> Served | None:
    stub = entry.client.stub(EmbeddingServiceStub)
    try:
        with deadline.scope(Deadline.after(_MOST_S)):
            answer: embedding_pb2.GetModelResponse = await stub.GetModel(
                embedding_pb2.GetModelRequest()
            )
    except MeshError:
        return None
    return Served(
        service="embedder",
        names=[answer.name],
        version=answer.lineage.version,
        since=answer.serving_since.seconds,
        context_tokens=answer.max_tokens,
    )
