"""Calls whose tokens count: decoded far enough to reserve what they may use, and settled."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import quote

from google.protobuf.message import DecodeError, Message

from mesh.embedding.v1 import embedding_pb2
from mesh.llm.v1 import llm_pb2
from mesh_gateway import token_bounds, wire
from mesh_gateway.admission import Passage
from mesh_gateway.caller import Caller
from mesh_gateway.grpc_door.calls import Work
from mesh_gateway.grpc_door.provenance import Remember
from mesh_gateway.metering import Metering, Reservation
from mesh_gateway.token_bounds import Bound
from meshkit.client import Client
from meshkit.errors import InvalidArgument
from meshkit.interceptors import Call

R = TypeVar("R")
# Names that people gave may have more than what metadata can carry.
_PLAIN: Final = " :,/@"
ContextTokens: TypeAlias = Callable[[Client], int]
"""Most tokens of prompt and answer together of what a client calls; 0 while nobody knows."""
Relay: TypeAlias = Callable[[Remember], Work[R]]
"""Passes a call on, and has each answer remembered."""


@dataclass(frozen=True, slots=True)
class MeteredMethod:
    """How the tokens of a method count.

    Attributes:
        request: what it is asked with.
        bound: the most tokens of a request, for a context of so many.
        usage_field: number of the field of its answers that says what was used so far.
        usage: reads that field, and says it.
        may_be_cut: whether a request may be told to make less.
    """

    request: type[Message]
    bound: Callable[[Any, int], Bound]
    usage_field: int
    usage: Callable[[bytes, Reservation], None]
    may_be_cut: bool


@dataclass(frozen=True, slots=True)
class Meter:
    """Meters the calls of a service.

    Attributes:
        metering: reserves and settles.
        client: of the service; a request that names no model is to the one of its name.
        context_tokens: of its model.
    """

    metering: Metering
    client: Client
    context_tokens: ContextTokens

    def around(
        self, method: MeteredMethod, relay: Relay[R], remember: Remember
    ) -> Callable[[Caller, Passage], Work[R]]:
        """The work of a call, once it is known who calls.

        Args:
            method: how its tokens count.
            relay: passes it on.
            remember: is told of each answer.
        """

        def of(caller: Caller, passage: Passage) -> Work[R]:
            async def work(call: Call, payload: bytes) -> R:
                request = _read(method, payload)
                bound = method.bound(request, self.context_tokens(self.client))
                model = getattr(request, "model", "") or self.client.name
                async with self.metering.reserve(caller, model, bound, passage) as reserved:
                    call.trailing.update(
                        (name, quote(value, safe=_PLAIN)) for name, value in reserved.headers()
                    )
                    if method.may_be_cut and reserved.cut:
                        reserved.cap(request)
                        payload = request.SerializeToString()
                    return await relay(_counting(method, reserved, remember))(call, payload)

            return work

        return of


def _read(method: MeteredMethod, payload: bytes) -> Any:
    try:
        return method.request.FromString(payload)
    except DecodeError:
        raise InvalidArgument(
            f"the request is no {method.request.DESCRIPTOR.full_name}; send one"
        ) from None


def _counting(method: MeteredMethod, reserved: Reservation, remember: Remember) -> Remember:
    def each(call: Call, answer: bytes) -> None:
        # Bytes that are no answer are left to the caller to find out.
        with suppress(ValueError, DecodeError):
            if said := wire.last_bytes(answer, method.usage_field):
                method.usage(said, reserved)
        remember(call, answer)

    return each


def _generated(said: bytes, reserved: Reservation) -> None:
    usage = llm_pb2.Usage.FromString(said)
    reserved.used(usage.prompt_tokens, usage.completion_tokens, usage.cached_prompt_tokens)


def _embedded(said: bytes, reserved: Reservation) -> None:
    reserved.used(embedding_pb2.EmbedUsage.FromString(said).tokens, 0)


def _usage_field(answer: type[Message]) -> int:
    return int(answer.DESCRIPTOR.fields_by_name["usage"].number)


METHODS: Final[Mapping[str, MeteredMethod]] = {
    "mesh.llm.v1.LlmService/Chat": MeteredMethod(
        llm_pb2.ChatRequest,
        token_bounds.of_chat,
        _usage_field(llm_pb2.ChatResponse),
        _generated,
        may_be_cut=True,
    ),
    "mesh.llm.v1.LlmService/Complete": MeteredMethod(
        llm_pb2.CompleteRequest,
        token_bounds.of_completion,
        _usage_field(llm_pb2.CompleteResponse),
        _generated,
        may_be_cut=True,
    ),
    "mesh.embedding.v1.EmbeddingService/Embed": MeteredMethod(
        embedding_pb2.EmbedRequest,
        token_bounds.of_embedding,
        _usage_field(embedding_pb2.EmbedResponse),
        _embedded,
        may_be_cut=False,
    ),
}
"""The methods whose tokens count, by their full names."""
