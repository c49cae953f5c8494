"""What the dispatch stream saves: the same calls as plain unary gRPC and over the stream, in turn.

Both go from one process to another on 127.0.0.1, through the same interceptors, from a closed loop
of callers. The figure to read is the ratio; absolute rates are the machine's.

    meshkit/.venv/bin/python loadtests/dispatch/bench.py [--callers 32] [--calls 10000] [--rounds 3]
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import grpc
from lab.processes import free_ports, listens
from pydantic_settings import SettingsConfigDict

from mesh.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from mesh.common.v1 import common_pb2
from meshkit import deadline, run
from meshkit.client import Client
from meshkit.deadline import Deadline
from meshkit.dispatch import DispatchStream
from meshkit.run import App
from meshkit.server import GrpcServer, Service
from meshkit.settings import ServiceSettings

METHOD = "mesh.classifier.v1.ClassifierService/Classify"
MAX_MESSAGE_BYTES = 4 * 2**20
Call = Callable[[], Awaitable[object]]


RESULT = classifier_pb2.ClassifyResult(
    classification=classifier_pb2.Classification(
        label="positive",
        probabilities=[
            classifier_pb2.LabelProbability(label=label, probability=probability)
            for label, probability in (("negative", 0.02), ("neutral", 0.06), ("positive", 0.92))
        ],
        valence=2.4,
    )
)
LINEAGE = common_pb2.Lineage(model="classifier", version="1", variant="default", run="1")


class Settings(ServiceSettings):
    """Ports of the echo service."""

    model_config = SettingsConfigDict(env_prefix="MESH_CLASSIFIER_")


class Echo(classifier_pb2_grpc.ClassifierServiceServicer):
    """Answers at once, so that what is measured is the way there and back."""

    async def Classify(  # noqa: N802  # named by the contract
        self, request: classifier_pb2.ClassifyRequest, context: object
    ) -> classifier_pb2.ClassifyResponse:
        """One result for each text."""
        return classifier_pb2.ClassifyResponse(
            results=[RESULT for _ in request.texts], lineage=LINEAGE
        )

    async def GetModel(  # noqa: N802  # named by the contract
        self, request: classifier_pb2.GetModelRequest, context: object
    ) -> classifier_pb2.GetModelResponse:
        """Nothing to say."""
        return classifier_pb2.GetModelResponse()


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[App]:
    """The echo service."""
    service = Service(classifier_pb2_grpc.add_ClassifierServiceServicer_to_server, Echo())
    yield App(servers=[GrpcServer(settings, [service])])


async def rate(call: Call, callers: int, calls: int) -> float:
    """Calls per second of a closed loop of callers."""
    left = iter(range(calls))

    async def caller() -> None:
        for _ in left:
            await call()

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return calls / (time.perf_counter() - started)


async def measure(port: int, arguments: argparse.Namespace) -> None:
    """Prints the rates of both ways, round by round, and the median of their ratios."""
    payload = classifier_pb2.ClassifyRequest(texts=["a short text"]).SerializeToString()
    target = f"127.0.0.1:{port}"
    async with Client("classifier", target, max_message_bytes=MAX_MESSAGE_BYTES) as client:
        channel = client.endpoints.choose().channel
        unary: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{METHOD}")
        stream = DispatchStream(channel, MAX_MESSAGE_BYTES)
        ways: dict[str, Call] = {
            "unary": lambda: unary(payload, timeout=10),
            "stream": lambda: stream.call(METHOD, payload, {}, Deadline.after(10)),
        }
        ratios = []
        with deadline.scope(Deadline.after(600)):
            for _ in range(arguments.rounds + 1):
                rates = {
                    name: await rate(call, arguments.callers, arguments.calls)
                    for name, call in ways.items()
                }
                ratios.append(rates["stream"] / rates["unary"])
                sys.stdout.write(
                    "  ".join(f"{name} {value:8.0f}/s" for name, value in rates.items())
                    + f"  ratio {ratios[-1]:.2f}\n"
                )
        await stream.close()
    median = statistics.median(ratios[1:])
    sys.stdout.write(f"median ratio, without the first round: {median:.2f}\n")


async def main(arguments: argparse.Namespace) -> None:
    """Starts the echo service, measures, and ends it."""
    ports = free_ports(2)
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        "--serve",
        env={
            "MESH_CLASSIFIER_GRPC_PORT": str(ports[0]),
            "MESH_CLASSIFIER_ADMIN_PORT": str(ports[1]),
            "MESH_LOG_LEVEL": "warning",
            "PYTHONPATH": str(Path(__file__).parent),
        },
    )
    try:
        async with asyncio.timeout(30):
            while not listens(ports[0]):  # noqa: ASYNC110  # another process has no event
                await asyncio.sleep(0.05)
        await measure(ports[0], arguments)
    finally:
        server.terminate()
        await server.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The dispatch stream against plain unary calls.")
    parser.add_argument("--serve", action="store_true", help="be the echo service")
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    if chosen.serve:
        run.main(Settings, "bench:app")
    asyncio.run(main(chosen))
