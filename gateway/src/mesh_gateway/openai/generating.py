"""One generation of the llm, from the reservation of its tokens to its last delta."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    aclosing,
    asynccontextmanager,
)
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from mesh.common.v1 import common_pb2
from mesh.llm.v1 import llm_pb2
from mesh_gateway.caller import Caller
from mesh_gateway.exchange import Exchange
from mesh_gateway.metering import Metering, Reservation
from mesh_gateway.openai.answers import Usage
from mesh_gateway.openai.catalog import Catalog
from mesh_gateway.openai.params import ParamOf, as_asked
from mesh_gateway.openai.routing import Candidate
from mesh_gateway.openai.told import Told
from mesh_gateway.timeouts import in_time
from mesh_gateway.token_bounds import Bound
from meshkit.errors import Code, Internal, InvalidArgument, MeshError, Overloaded

_SILENT: Final = "the service has sent nothing"


class Response(Protocol):
    """What the responses of both kinds of generations have."""

    @property
    def lineage(self) -> common_pb2.Lineage:
        """Where the answer comes from, in the first one."""

    @property
    def usage(self) -> llm_pb2.Usage:
        """Tokens so far."""


class Request(Protocol):
    """What the requests of both kinds of generations have."""

    model: str

    @property
    def sampling(self) -> llm_pb2.Sampling:
        """How its tokens are chosen."""

    def SerializeToString(self, *, deterministic: bool = ...) -> bytes:  # noqa: N802  # protobuf's name
        """The request on the wire."""


R = TypeVar("R", bound=Response)
R_co = TypeVar("R_co", bound=Response, covariant=True)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks.

    Attributes:
        caller: who it is.
        exchange: the request.
        told: what its response says in headers.
    """

    caller: Caller
    exchange: Exchange
    told: Told


@dataclass(frozen=True, slots=True)
class Ask(Generic[R]):
    """What is asked.

    Attributes:
        method: of the llm, full name.
        request: to whichever model; its name is filled in.
        response: reads a message of the answer.
        bound: the most tokens that it may use, by the tokens of the context; 0 where that is not
            known.
        param_of: the parameter that a field of the request was made of.
        repeatable: whether the same request has the same answer.
    """

    method: str
    request: Request
    response: Callable[[bytes], R]
    bound: Callable[[int], Bound]
    param_of: ParamOf
    repeatable: bool


class Generation(Protocol[R_co]):
    """An answer that has begun."""

    @property
    def model(self) -> str:
        """What answers, by its name where it is served."""

    @property
    def lineage(self) -> common_pb2.Lineage:
        """Where the answer comes from."""

    @property
    def used(self) -> Usage:
        """Tokens so far."""

    def batches(self) -> AsyncGenerator[Sequence[R_co], None]:
        """All messages of the answer, once; those that have come together are together.

        Raises:
            MeshError: the answer has broken off.
        """


class Running(Generic[R]):
    """A generation that runs in the llm.

    Attributes:
        candidate: what answers.
        lineage: where the answer comes from.
    """

    def __init__(
        self,
        candidate: Candidate,
        first: Sequence[R],
        rest: AsyncGenerator[Sequence[R], None],
        reserved: Reservation,
    ) -> None:
        self.candidate = candidate
        self.lineage = first[0].lineage
        self._usage = first[0].usage
        self._first = first
        self._rest = rest
        self._reserved = reserved

    @property
    def model(self) -> str:
        """What answers, by its name where it is served."""
        return self.candidate.model

    @property
    def used(self) -> Usage:
        """Tokens so far."""
        return used(self._usage)

    async def batches(self) -> AsyncGenerator[Sequence[R], None]:
        """All messages of the answer, once; those that have come together are together.

        Raises:
            MeshError: the answer has broken off; a repetition would be another answer, and cost
                once more.
        """
        self._count(self._first[-1])
        yield self._first
        try:
            async for responses in self._rest:
                self._count(responses[-1])
                yield responses
        except MeshError as error:
            error.retryable = False
            raise

    def _count(self, response: R) -> None:
        """Takes the last usage, which is of the whole request so far."""
        usage = self._usage = response.usage
        self._reserved.used(
            usage.prompt_tokens, usage.completion_tokens, usage.cached_prompt_tokens
        )


class Generating(Protocol):
    """What begins generations."""

    def begun(
        self, ask: Ask[R], candidates: Sequence[Candidate], asker: Asker
    ) -> AbstractAsyncContextManager[Generation[R]]:
        """An answer that has begun; leaving the block ends it, however it is left.

        Args:
            ask: what is asked.
            candidates: what may answer, the first choice first.
            asker: who asks.

        Raises:
            MeshError: there is no answer.
        """


class Generator:
    """Begins generations in the llm.

    Args:
        metering: reserves and settles.
        catalog: knows how many tokens a context has.
        idle_timeout_s: seconds that the llm may say nothing.
    """

    def __init__(self, metering: Metering, catalog: Catalog, idle_timeout_s: float) -> None:
        self._metering = metering
        self._catalog = catalog
        self._idle_timeout_s = idle_timeout_s

    @asynccontextmanager
    async def begun(
        self, ask: Ask[R], candidates: Sequence[Candidate], asker: Asker
    ) -> AsyncIterator[Running[R]]:
        """A generation that has begun; as `Generating` has it.

        A candidate that is away or has too much to do is passed over for the next one.
        """
        async with AsyncExitStack() as held:
            with asker.exchange.calling():
                generation = await self._first_of(ask, candidates, asker, held)
            asker.told.answered(generation.model, generation.lineage)
            yield generation

    async def _first_of(
        self, ask: Ask[R], candidates: Sequence[Candidate], asker: Asker, held: AsyncExitStack
    ) -> Running[R]:
        *others, last = candidates
        for candidate in others:
            try:
                async with AsyncExitStack() as attempt:
                    generation = await self._begin(ask, candidate, asker, attempt)
                    held.push_async_exit(attempt.pop_all())
                    return generation
            except MeshError as error:
                if not _passes_over(error):
                    raise
        return await self._begin(ask, last, asker, held)

    async def _begin(
        self, ask: Ask[R], candidate: Candidate, asker: Asker, held: AsyncExitStack
    ) -> Running[R]:
        ask.request.model = candidate.model
        served = self._catalog.of(candidate.client)
        bound = ask.bound(served.context_tokens if served else 0)
        reserve = self._metering.reserve(asker.caller, candidate.model, bound, asker.exchange)
        reserved = await held.enter_async_context(reserve)
        reserved.cap(ask.request)
        asker.told.reserved(reserved)
        batches = _decoded(candidate, ask)
        await held.enter_async_context(aclosing(batches))
        try:
            first = await in_time(anext(batches, None), self._idle_timeout_s, _SILENT)
        except InvalidArgument as error:
            raise as_asked(error, ask.param_of) from error
        if first is None:
            raise Internal("the model's service has answered nothing; ask again")
        return Running(candidate, first, batches, reserved)


async def _decoded(candidate: Candidate, ask: Ask[R]) -> AsyncGenerator[Sequence[R], None]:
    payload = ask.request.SerializeToString()
    async with aclosing(candidate.client.batches(ask.method, payload)) as batches:
        async for messages in batches:
            yield [ask.response(message) for message in messages]


def _passes_over(error: MeshError) -> bool:
    """Whether another deployment may answer where one does not."""
    return error.code is Code.UNAVAILABLE or isinstance(error, Overloaded)


def used(usage: llm_pb2.Usage) -> Usage:
    """The use that a message tells."""
    return Usage(usage.prompt_tokens, usage.completion_tokens, usage.cached_prompt_tokens)
