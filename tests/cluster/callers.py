"""Callers that ask a mesh at a steady pace and never repeat a request.

Each HTTP caller has one connection, and opens another when it is told `connection: close` or finds
it closed; each gRPC caller has one channel, which connects again by itself.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import grpc
import grpc.aio

from mesh.classifier.v1 import classifier_pb2, classifier_pb2_grpc

# gRPC would repeat a call by itself that the server says it never began, and would not see a server
# whose machine has gone.
_CHANNEL_OPTIONS: Final = (
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 2_000),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked, where, and how fast.

    Attributes:
        http: address of the HTTP door.
        grpc: address of the gRPC door.
        key: the API key.
        http_callers: how many ask over HTTP.
        grpc_callers: how many ask over gRPC.
        pause_s: seconds that each caller waits between two requests.
        texts: in one request.
        timeout_s: seconds after which a caller gives a request up.
    """

    http: str
    grpc: str
    key: str
    http_callers: int
    grpc_callers: int
    pause_s: float
    texts: int
    timeout_s: float


class Outcome(NamedTuple):
    """What became of a request: the seconds are those of `time.monotonic`.

    `connection` counts a caller's connections; over gRPC it is always 0. `status` is HTTP's or
    gRPC's, or says what is wrong: `refused`, `broken`, `late`, `incomplete`.
    """

    began_s: float
    ended_s: float
    door: str
    caller: int
    connection: int
    status: str
    reason: str
    version: str

    @property
    def failed(self) -> bool:
        """Whether the caller has no answer."""
        return self.status not in {"200", "OK"}


class Caller(Protocol):
    """Asks one request after the other."""

    async def ask(self) -> Outcome:
        """Asks once; never fails."""

    async def close(self) -> None:
        """Closes what it has open."""


def callers(plan: Plan) -> list[Caller]:
    """All callers of a plan."""
    texts = [f"It was {number} times as good as we thought." for number in range(plan.texts)]
    http = [HttpCaller(plan, number, texts) for number in range(plan.http_callers)]
    return [*http, *(GrpcCaller(plan, number, texts) for number in range(plan.grpc_callers))]


async def ask_on(
    caller: Caller, pause_s: float, tell: Callable[[Outcome], None], over: asyncio.Event
) -> None:
    """Asks until it is over, and lets the last request end.

    Args:
        caller: who asks.
        pause_s: seconds between two requests.
        tell: is told of each outcome.
        over: set, when no more is to be asked.
    """
    while not over.is_set():
        tell(await caller.ask())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), pause_s)
    await caller.close()


class HttpCaller:
    """Asks `POST /v1/classify` over a connection that it keeps."""

    def __init__(self, plan: Plan, number: int, texts: list[str]) -> None:
        self._host, _, port = plan.http.rpartition(":")
        self._port = int(port)
        self._number = number
        self._timeout_s = plan.timeout_s
        self._request = _http_request(plan, texts)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._connection = 0

    async def ask(self) -> Outcome:
        """Asks once."""
        began_s = time.monotonic()
        status, reason, version = "late", f"no answer within {self._timeout_s:g} s", ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_s):
                status, reason, version = await self._answer()
        connection = self._connection
        if status in {"late", "broken"}:  # nobody knows what would come next on this connection
            await self.close()
        ended_s = time.monotonic()
        return Outcome(began_s, ended_s, "http", self._number, connection, status, reason, version)

    async def close(self) -> None:
        """Closes the connection, if one is open."""
        if self._streams:
            self._streams[1].close()
            self._streams = None

    async def _answer(self) -> tuple[str, str, str]:
        try:
            reader, writer = await self._open()
        except OSError as error:
            return "refused", str(error), ""
        try:
            writer.write(self._request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            body = json.loads(await reader.readexactly(length))
        except (OSError, asyncio.IncompleteReadError) as error:
            return "broken", str(error), ""
        if "\r\nconnection: close\r\n" in head:
            await self.close()
        status = head.split()[1]
        if status != "200":
            return status, f"{body.get('reason')}: {body.get('detail')}", ""
        without = [result for result in body["results"] if result["status"] != "ok"]
        if without:
            return "incomplete", json.dumps(without[0]), ""
        return status, "", body["lineage"]["version"]

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams and self._streams[0].at_eof():
            await self.close()
        if self._streams is None:
            self._connection += 1
            self._streams = await asyncio.open_connection(self._host, self._port)
        return self._streams


class GrpcCaller:
    """Asks `Classify` over a channel of its own."""

    def __init__(self, plan: Plan, number: int, texts: list[str]) -> None:
        self._number = number
        self._timeout_s = plan.timeout_s
        self._request = classifier_pb2.ClassifyRequest(texts=texts)
        self._metadata = (("authorization", f"Bearer {plan.key}"),)
        self._channel = grpc.aio.insecure_channel(plan.grpc, options=_CHANNEL_OPTIONS)
        self._stub = classifier_pb2_grpc.ClassifierServiceStub(self._channel)

    async def ask(self) -> Outcome:
        """Asks once."""
        began_s = time.monotonic()
        try:
            response = await self._stub.Classify(
                self._request, timeout=self._timeout_s, metadata=self._metadata
            )
        except grpc.aio.AioRpcError as error:
            status, reason, version = error.code().name, error.details() or "", ""
        else:
            without = [each for each in response.results if each.HasField("error")]
            status, reason = ("incomplete", str(without[0])) if without else ("OK", "")
            version = response.lineage.version
        ended_s = time.monotonic()
        return Outcome(began_s, ended_s, "grpc", self._number, 0, status, reason, version)

    async def close(self) -> None:
        """Closes the channel."""
        await self._channel.close()


def _http_request(plan: Plan, texts: list[str]) -> bytes:
    body = json.dumps({"texts": texts, "allow_degraded": False}).encode()
    lines = [
        "POST /v1/classify HTTP/1.1",
        "host: mesh",
        f"authorization: Bearer {plan.key}",
        f"x-request-timeout-ms: {plan.timeout_s * 1000:.0f}",
        "content-type: application/json",
        f"content-length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
