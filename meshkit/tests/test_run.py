"""A process as its operator sees it: started, asked, told to stop."""

import asyncio
import json
import os
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from conftest import labels, request
from mesh.classifier.v1 import classifier_pb2_grpc
from ports import free_port

PROGRAM = """
import asyncio
from contextlib import asynccontextmanager

from conftest import Echo, EchoSettings
from meshkit import run
from meshkit.errors import StartError
from meshkit.run import App
from meshkit.server import GrpcServer, Service
from mesh.classifier.v1 import classifier_pb2_grpc


async def fail_later():
    await asyncio.sleep(0.1)
    raise ZeroDivisionError("the background failed")


@asynccontextmanager
async def app(settings):
    if settings.variant == "no-model":
        raise StartError("there is no model; run the training")
    if settings.variant == "loads-for-ever":
        print("loading", flush=True)
        await asyncio.Event().wait()
    service = Service(classifier_pb2_grpc.add_ClassifierServiceServicer_to_server, Echo())
    tasks = [fail_later()] if settings.variant == "background-fails" else []
    yield App(servers=[GrpcServer(settings, [service])], tasks=tasks)
    print("closed", flush=True)


if __name__ == "__main__":
    run.main(EchoSettings, "mesh_echo:app")
"""


class Process:
    """A running program, its ports and its output."""

    def __init__(self, process: asyncio.subprocess.Process, grpc_port: int, admin_port: int):
        self.process = process
        self.address = f"127.0.0.1:{grpc_port}"
        self.admin_port = admin_port

    async def logged(self, text: str) -> None:
        """Reads the log up to a line that has the text."""
        assert self.process.stderr
        async with asyncio.timeout(60):
            while text not in (line := (await self.process.stderr.readline()).decode()):
                assert line, f"the log ended without {text!r}"

    async def end(self) -> tuple[int, str, str]:
        """Exit status, output and the rest of the log, once it has ended."""
        async with asyncio.timeout(60):
            out, log = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, out.decode(), log.decode()


Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    (tmp_path / "mesh_echo.py").write_text(PROGRAM)
    started: list[Process] = []

    async def start(**environment: str) -> Process:
        ports = free_port(), free_port()
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("MESH_")}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(tmp_path / "mesh_echo.py"),
            env={
                **inherited,
                "PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{tmp_path}",
                "MESH_ECHO_GRPC_PORT": str(ports[0]),
                "MESH_ECHO_ADMIN_PORT": str(ports[1]),
                **environment,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        started.append(Process(process, *ports))
        return started[-1]

    yield start
    for each in started:
        if each.process.returncode is None:
            each.process.kill()
            await each.process.communicate()


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_until_it_is_told_to_stop(start: Start, signal_number: int) -> None:
    process = await start()
    await process.logged("serving gRPC")
    async with grpc.aio.insecure_channel(process.address) as channel:
        stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
        assert labels(await stub.Classify(request("text"), timeout=10)) == ["text"]
    process.process.send_signal(signal_number)
    status, out, log = await process.end()
    assert status == 0
    assert out == "closed\n"
    assert "Traceback" not in log


async def test_a_drain_serves_on_and_then_finishes_what_is_in_flight(start: Start) -> None:
    process = await start(MESH_DRAIN_DELAY_S="1.0", MESH_DRAIN_TIMEOUT_S="30")
    await process.logged("serving gRPC")
    async with grpc.aio.insecure_channel(process.address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
        process.process.terminate()
        await process.logged("draining")
        checked = await health.Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert checked.status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert labels(await stub.Classify(request("still"), timeout=10)) == ["still"]
    assert (await process.end())[0] == 0


async def test_metrics_are_read_from_the_admin_port(start: Start) -> None:
    process = await start()
    await process.logged("serving gRPC")
    async with grpc.aio.insecure_channel(process.address) as channel:
        stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
        await stub.Classify(request("text"), timeout=10)
    url = f"http://127.0.0.1:{process.admin_port}/metrics"
    page = (await asyncio.to_thread(urllib.request.urlopen, url)).read().decode()
    (count,) = [
        line
        for line in page.splitlines()
        if line.startswith("rpc_server_call_duration_seconds_count")
    ]
    assert 'rpc_method="mesh.classifier.v1.ClassifierService/Classify"' in count
    assert 'rpc_response_status_code="OK"' in count
    assert count.endswith(" 1.0")


async def test_the_settings_are_logged_as_the_first_line(start: Start) -> None:
    process = await start(MESH_DEPLOYMENT="blue")
    assert process.process.stderr
    first = json.loads(await process.process.stderr.readline())
    assert first["message"] == "starting"
    assert first["settings"]["MESH_ECHO_DEPLOYMENT"] == "blue"


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({"MESH_ECHO_VARIANT": "no-model"}, "there is no model; run the training"),
        ({"MESH_ECHO_GRPC_PORT": "abc"}, "MESH_ECHO_GRPC_PORT=abc: Input should be"),
        ({"MESH_ECHO_GRPC_PROT": "1"}, "unknown setting MESH_ECHO_GRPC_PROT"),
    ],
)
async def test_what_hinders_the_start_is_one_line(
    start: Start, environment: dict[str, str], line: str
) -> None:
    status, _, log = await (await start(**environment)).end()
    assert status == 2
    assert log.splitlines()[-1].startswith(line)
    assert "Traceback" not in log


async def test_a_taken_port_is_one_line(start: Start) -> None:
    first = await start()
    await first.logged("serving gRPC")
    port = first.address.rpartition(":")[2]
    for name, taken in (("GRPC", port), ("ADMIN", str(first.admin_port))):
        second = await start(**{f"MESH_ECHO_{name}_PORT": taken})
        status, _, log = await second.end()
        assert status == 2
        assert f"can't listen on 127.0.0.1:{taken}" in log.splitlines()[-1]
        assert "Traceback" not in log


async def test_it_can_be_stopped_while_it_loads(start: Start) -> None:
    process = await start(MESH_ECHO_VARIANT="loads-for-ever")
    assert process.process.stdout
    assert await process.process.stdout.readline() == b"loading\n"
    process.process.terminate()
    status, _, log = await process.end()
    assert status == 0
    assert "Traceback" not in log


async def test_background_work_that_fails_ends_the_process(start: Start) -> None:
    process = await start(MESH_ECHO_VARIANT="background-fails")
    status, _, log = await process.end()
    assert status == 1
    assert "the background failed" in log
