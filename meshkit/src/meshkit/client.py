"""Calls to a service of the mesh, over all its replicas."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping, Set
from contextlib import aclosing
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, TypeVar, cast

import grpc
from opentelemetry.util.types import AttributeValue

from meshkit import context, deadline, names, spans, telemetry
from meshkit.breaker import Result
from meshkit.deadline import Deadline
from meshkit.dispatch_ends import CONNECTION_LOST, DRAINING, MAX_PAYLOAD_BYTES, NOT_SENT
from meshkit.durations import Durations
from meshkit.endpoints import Endpoint, Endpoints
from meshkit.errors import Code, InvalidArgument, MeshError
from meshkit.renderings import from_status
from meshkit.retries import RetryBudget
from meshkit.stubs import StubChannel
from meshkit.tls import Certificate

_NEVER_BEGAN: Final = frozenset({DRAINING, NOT_SENT})
_FAULTS: Final = frozenset({Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS})
# A replica that has not answered for so long is slow; with less time the caller may be hasty.
_FAIR_TIME_S: Final = 1.0
_duration = Durations(
    names.RPC_CLIENT_DURATION,
    "Time from a call to its answer, over every replica tried.",
    (
        names.SERVER_ADDRESS,
        names.SERVER_PORT,
        names.RPC_METHOD,
        names.RPC_STATUS,
        names.ERROR_TYPE,
    ),
    {names.RPC_SYSTEM: "grpc"},
)
_retries = telemetry.counter(
    names.RETRIES, "{call}", "Calls that went to another replica, or could not, by outcome."
)

S = TypeVar("S")


class Client:
    """A client of one service: an async context manager for as long as the process lives.

    Args:
        name: what the service is called in metrics, logs and messages.
        target: where its replicas are, as `Endpoints` takes it.
        max_message_bytes: the mesh's limit for public messages.
        repeatable: full names of the methods that may run twice without harm.
        certificate: shown to the replicas, as `Endpoints` takes it.
    """

    def __init__(
        self,
        name: str,
        target: str,
        *,
        max_message_bytes: int,
        repeatable: Set[str] = frozenset(),
        certificate: Certificate | None = None,
    ) -> None:
        self.name = name
        self.endpoints = Endpoints(name, target, max_message_bytes, certificate)
        self._server = _address_of(target)
        self._repeatable = repeatable
        self._budget = RetryBudget()

    async def __aenter__(self) -> Client:
        await self.endpoints.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.endpoints.__aexit__()

    @property
    def serving(self) -> bool:
        """Whether any replica serves."""
        return any(endpoint.serving for endpoint in self.endpoints.all)

    def stub(self, stub_type: Callable[[grpc.aio.Channel], S]) -> S:
        """The generated stub over this client: `client.stub(ClassifierServiceStub)`.

        Its methods take the deadline and the request from the context variables and raise
        `MeshError`.
        """
        return stub_type(cast(grpc.aio.Channel, StubChannel(self)))

    async def call(self, method: str, payload: bytes) -> bytes:
        """Makes one unary call under the current deadline.

        A call that never began, because its replica was leaving or lost, goes to another one. One
        that may have begun does so only if the method is repeatable, the budget for repetitions
        allows it, and the request has entered the mesh here: repetitions at several hops multiply.

        Args:
            method: full name, `package.Service/Method`.
            payload: the serialised request.

        Returns:
            The serialised response.

        Raises:
            InvalidArgument: there is no current deadline.
            MeshError: what the service answered, or `Unavailable` where no replica could be asked.
        """
        limit = _current_deadline()
        with _Measured(method, self._server, limit) as outcome:
            metadata = context.to_metadata(outcome.span)
            work = self._call_any(method, payload, metadata, limit)
            response = await (work if deadline.is_enforced() else deadline.enforce(work))
            outcome.code = Code.OK
            return response

    async def stream(self, method: str, payload: bytes) -> AsyncGenerator[bytes, None]:
        """Makes one call whose answer is a stream; as `batches`, one message at a time."""
        async with aclosing(self.batches(method, payload)) as batches:
            async for messages in batches:
                for message in messages:
                    yield message

    async def batches(self, method: str, payload: bytes) -> AsyncGenerator[list[bytes], None]:
        """Makes one call whose answer is a stream, under the current deadline.

        Closing the generator cancels the call at the replica. A call that never began goes to
        another replica; no other one is repeated.

        Args:
            method: full name, `package.Service/Method`.
            payload: the serialised request.

        Yields:
            The serialised messages that have come since the last time, one at least; more are asked
            for when they are taken.

        Raises:
            InvalidArgument: there is no current deadline.
            MeshError: what the service answered, or `Unavailable` where no replica could be asked.
        """
        limit = _current_deadline()
        tried: frozenset[str] = frozenset()
        begun = False
        with _Measured(method, self._server, limit) as outcome:
            metadata = context.to_metadata(outcome.span)
            while True:
                endpoint = self.endpoints.choose(tried)
                try:
                    with _Asking(self.endpoints, endpoint, limit):
                        answer = _batches(endpoint, method, payload, metadata, limit)
                        async with aclosing(answer) as batches:
                            async for messages in batches:
                                begun = True
                                yield messages
                    outcome.code = Code.OK
                    return
                except MeshError as error:
                    tried |= {endpoint.address}
                    never_began = not begun and error.reason in _NEVER_BEGAN
                    if not (never_began and self._goes_on(method, error, tried)):
                        raise

    async def _call_any(
        self, method: str, payload: bytes, metadata: Mapping[str, str], limit: Deadline
    ) -> bytes:
        self._budget.deposit()
        tried: frozenset[str] = frozenset()
        while True:
            endpoint = self.endpoints.choose(tried)
            try:
                with _Asking(self.endpoints, endpoint, limit):
                    if len(payload) <= MAX_PAYLOAD_BYTES:
                        return await endpoint.stream.call(method, payload, metadata, limit)
                    return await _call_apart(endpoint, method, payload, metadata, limit)
            except MeshError as error:
                tried |= {endpoint.address}
                if not self._goes_on(method, error, tried):
                    raise

    def _goes_on(self, method: str, error: MeshError, tried: frozenset[str]) -> bool:
        """Whether a call that failed goes to another replica."""
        if error.reason not in _NEVER_BEGAN and not self._may_repeat(method, error):
            return False
        if not any(each.usable and each.address not in tried for each in self.endpoints.all):
            return False
        if error.reason in _NEVER_BEGAN:
            outcome = "never_began"
        elif self._budget.spend():
            outcome = "repeated"
        else:
            outcome = "over_budget"
        _retries.add(1, {names.TARGET: self.name, names.RETRY_OUTCOME: outcome})
        return outcome != "over_budget"

    def _may_repeat(self, method: str, error: MeshError) -> bool:
        request = context.current()
        entered_here = request is None or request.hops == 0
        lost = error.code is Code.UNAVAILABLE and error.reason == CONNECTION_LOST
        return lost and entered_here and method in self._repeatable


class _Asking:
    """Counts a call to a replica inside, and tells its breaker what came of it."""

    __slots__ = ("_endpoint", "_endpoints", "_limit", "_time_s")

    def __init__(self, endpoints: Endpoints, endpoint: Endpoint, limit: Deadline) -> None:
        self._endpoints = endpoints
        self._endpoint = endpoint
        self._limit = limit

    def __enter__(self) -> None:
        self._time_s = self._limit.remaining_s
        self._endpoint.outstanding += 1
        self._endpoint.breaker.begin()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        endpoint = self._endpoint
        endpoint.outstanding -= 1
        result = Result.NOTHING
        if error is None:
            result = Result.GOOD
        elif isinstance(error, MeshError):
            result = _result_of(error, self._time_s)
        if result is Result.NOTHING and self._time_s >= _FAIR_TIME_S and self._limit.expired:
            result = Result.FAILED
        endpoint.breaker.end(result, lambda: self._endpoints.others_fault_share(endpoint))


def _current_deadline() -> Deadline:
    limit = deadline.current()
    if limit is None:
        raise InvalidArgument("a call needs a deadline; enter meshkit.deadline.scope first")
    return limit


_Server: TypeAlias = tuple[str, int | None]


def _address_of(target: str) -> _Server:
    """A target as `server.address` and `server.port`: several addresses are one without a port."""
    host, _, port = target.removeprefix("dns:///").rpartition(":")
    if host and port.isdecimal() and "," not in target:
        return host, int(port)
    return target, None


class _Measured:
    """Measures a call: a span and a metric. It counts as cancelled unless something else is said.

    Whoever cancels it because its time is over may do so a moment before it ends by itself; to the
    caller that is the same.

    The span is not the current one: the caller of a stream may leave it in another context.
    """

    __slots__ = ("_limit", "_method", "_server", "_started_s", "code", "span")

    def __init__(self, method: str, server: _Server, limit: Deadline) -> None:
        self.code = Code.CANCELLED
        self.span = spans.client()
        self._limit = limit
        self._method = method
        self._server = server
        self._started_s = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        elapsed_s = time.perf_counter() - self._started_s
        if isinstance(error, MeshError):
            self.code = error.code
        elif self.code is Code.CANCELLED and self._limit.expired:
            self.code = Code.DEADLINE_EXCEEDED
        # A client's span is an error whatever the code; only faults are exported always.
        fault = self.code in spans.FAULTS
        status = spans.CODE_NAMES[self.code]
        error_type = None if self.code is Code.OK else status
        wanted = self.span.wanted(fault=fault)
        values = (*self._server, self._method, status, error_type)
        _duration.record(elapsed_s, values, self.span.exemplar(wanted=wanted))
        if wanted:
            self.span.export(self._method, elapsed_s, self._attributes(), error_type)

    def _attributes(self) -> dict[str, AttributeValue]:
        address, port = self._server
        attributes: dict[str, AttributeValue] = {
            names.RPC_SYSTEM: "grpc",
            names.RPC_METHOD: self._method,
            names.RPC_STATUS: self.code.name,
            names.SERVER_ADDRESS: address,
        }
        if port is not None:
            attributes[names.SERVER_PORT] = port
        if request := context.current():
            attributes[names.MESH_REQUEST_ID] = request.request_id
        return attributes


def _result_of(error: MeshError, time_s: float) -> Result:
    """What an error says of the replica that it came from."""
    if error.code is Code.UNAVAILABLE:
        return Result.NOTHING if error.reason == DRAINING else Result.FAILED
    if error.code is Code.DEADLINE_EXCEEDED:
        return Result.FAILED if time_s >= _FAIR_TIME_S else Result.NOTHING
    return Result.FAULT if error.code in _FAULTS else Result.GOOD


async def _call_apart(
    endpoint: Endpoint, method: str, payload: bytes, metadata: Mapping[str, str], limit: Deadline
) -> bytes:
    """Makes a call that is too large for the dispatch stream."""
    multicallable: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = endpoint.channel.unary_unary(
        f"/{method}"
    )
    try:
        return await multicallable(
            payload, timeout=limit.remaining_s, metadata=tuple(metadata.items())
        )
    except grpc.aio.AioRpcError as error:
        raise _to_mesh_error(error) from error


async def _batches(
    endpoint: Endpoint, method: str, payload: bytes, metadata: Mapping[str, str], limit: Deadline
) -> AsyncGenerator[list[bytes], None]:
    if len(payload) <= MAX_PAYLOAD_BYTES:
        shared = endpoint.streams.batches(method, payload, metadata, limit)
        async with aclosing(shared) as batches:
            async for messages in batches:
                yield messages
        return
    multicallable: grpc.aio.UnaryStreamMultiCallable[bytes, bytes]
    multicallable = endpoint.channel.unary_stream(f"/{method}")
    call = multicallable(payload, timeout=limit.remaining_s, metadata=tuple(metadata.items()))
    try:
        async for message in call:
            yield [message]
    except grpc.aio.AioRpcError as error:
        raise _to_mesh_error(error) from error
    finally:
        call.cancel()


def _to_mesh_error(error: grpc.aio.AioRpcError) -> MeshError:
    trailing = dict(cast(Any, error.trailing_metadata()) or ())
    return from_status(
        error.code().value[0], error.details() or "", trailing.get(names.STATUS_DETAILS)
    )
