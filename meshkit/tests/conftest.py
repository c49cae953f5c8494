"""A real service on real sockets, whose texts say how it should behave."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import hypothesis
import pytest
from pydantic_settings import SettingsConfigDict

from mesh.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from meshkit import context, deadline
from meshkit.client import Client
from meshkit.errors import InvalidArgument, Overloaded
from meshkit.server import GrpcServer, Service
from meshkit.settings import ServiceSettings
from ports import free_port
from redis_server import RedisServer

# How long an example takes says nothing: machines are busy.
hypothesis.settings.register_profile("mesh", deadline=None)
hypothesis.settings.load_profile("mesh")

CLASSIFY = "mesh.classifier.v1.ClassifierService/Classify"


class EchoSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="MESH_ECHO_")


def request(*texts: str) -> classifier_pb2.ClassifyRequest:
    return classifier_pb2.ClassifyRequest(texts=texts)


def labels(response: classifier_pb2.ClassifyResponse) -> list[str]:
    return [result.classification.label for result in response.results]


class Echo(classifier_pb2_grpc.ClassifierServiceServicer):
    """Labels each text with itself; some first texts make it wait or fail."""

    def __init__(self, name: str = "echo") -> None:
        self.name = name
        self.begun = asyncio.Semaphore(0)
        self.cancelled = asyncio.Semaphore(0)
        self.proceed = asyncio.Event()
        self.answered = 0

    async def Classify(  # noqa: N802
        self, request: classifier_pb2.ClassifyRequest, context: object
    ) -> classifier_pb2.ClassifyResponse:
        self.begun.release()
        try:
            await self._behave(request.texts[0])
        except asyncio.CancelledError:
            self.cancelled.release()
            raise
        self.answered += 1
        return _echo(self._said(request.texts[0]), *request.texts[1:])

    async def _behave(self, text: str) -> None:
        match text:
            case "wait":
                await self.proceed.wait()
            case "invalid":
                raise InvalidArgument.of_field("texts[0]", "is 'invalid'; send another text")
            case "overloaded":
                raise Overloaded("the queue is full", retry_delay_s=0.25)
            case "fault":
                raise ZeroDivisionError("a secret of the implementation")

    def _said(self, text: str) -> str:
        if text == "who":
            return self.name
        if text == "too much":
            return "x" * 10_000_000
        if text == "request":
            return repr(context.current())
        if text == "time":
            limit = deadline.current()
            return repr(limit and limit.remaining_s)
        return text

    async def GetModel(  # noqa: N802
        self, request: classifier_pb2.GetModelRequest, context: object
    ) -> classifier_pb2.GetModelResponse:
        return classifier_pb2.GetModelResponse(labels=["model"])


def _echo(*texts: str) -> classifier_pb2.ClassifyResponse:
    return classifier_pb2.ClassifyResponse(
        results=[
            classifier_pb2.ClassifyResult(classification=classifier_pb2.Classification(label=text))
            for text in texts
        ]
    )


class Replica:
    """One replica of the echo service, on a port of its own."""

    def __init__(self, name: str, port: int | None, **settings: object) -> None:
        self.port = port or free_port()
        self.echo = Echo(name)
        chosen: dict[str, Any] = {"grpc_port": self.port, "admin_port": free_port(), **settings}
        service = Service(classifier_pb2_grpc.add_ClassifierServiceServicer_to_server, self.echo)
        self.server = GrpcServer(EchoSettings(**chosen), [service])

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


StartReplica = Callable[..., Awaitable[Replica]]


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of a bucket on an S3 server, one for all: its clients outlive any test."""
    from mirrors import s3_bucket  # noqa: PLC0415  # it has numpy, before which services start here

    with s3_bucket() as url:
        yield url


@pytest.fixture
async def start_replica() -> AsyncIterator[StartReplica]:
    started: list[Replica] = []

    async def start(name: str = "echo", port: int | None = None, **settings: object) -> Replica:
        replica = Replica(name, port, **settings)
        await replica.server.start()
        started.append(replica)
        return replica

    yield start
    for replica in started:
        await replica.server.stop(0)


@pytest.fixture
async def replica(start_replica: StartReplica) -> Replica:
    return await start_replica()


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Inside, what refers to itself stays, as it does for long in service."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Polls until the condition holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.01)


@pytest.fixture
async def client(replica: Replica) -> AsyncIterator[Client]:
    async with Client("classifier", replica.address, max_message_bytes=4 * 2**20) as connected:
        await until(lambda: connected.serving)
        yield connected


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.stop()
