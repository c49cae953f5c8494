"""The service with its own engine, as a process: its figures and its processes."""

import asyncio
import re
import subprocess
import urllib.request
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mesh.common.v1 import common_pb2
from mesh.llm.v1 import llm_pb2

START_S: Final = 1800.0
"""Most seconds for a start; on a loaded machine with two cores it takes minutes."""
CALL_S: Final = 600.0


@dataclass
class EngineService:
    """A running service."""

    process: "subprocess.Popen[bytes]"
    grpc_port: int
    admin_port: int
    log: Path

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    def metrics(self) -> str:
        """All metrics, as they are told."""
        url = f"http://127.0.0.1:{self.admin_port}/metrics"
        with urllib.request.urlopen(url, timeout=CALL_S) as response:
            page: str = response.read().decode()
        return page

    def metric(self, name: str) -> float:
        """The sum of a metric's series."""
        page = self.metrics()
        values = re.findall(rf"^{re.escape(name)}(?:{{.*}})? (\S+)$", page, re.MULTILINE)
        assert values, f"there is no {name}"
        return sum(float(value) for value in values)

    def memory_bytes(self) -> int:
        """Memory of its own process and of the engine's."""
        processes = [psutil.Process(self.process.pid), *self.engine_processes()]
        return sum(each.memory_info().rss for each in processes)

    def engine_processes(self) -> list[psutil.Process]:
        """Every process of the engine, but the helper of multiprocessing."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [each for each in children if "resource_tracker" not in " ".join(each.cmdline())]

    async def is_serving(self) -> bool:
        async with grpc.aio.insecure_channel(self.target) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            asked = health_pb2.HealthCheckRequest(service="mesh.llm.v1.LlmService")
            health = await stub.Check(asked, timeout=CALL_S)
        return bool(health.status == health_pb2.HealthCheckResponse.SERVING)

    async def serves(self, expected: bool) -> None:
        """Waits until its health is the expected one."""
        async with asyncio.timeout(START_S):
            while await self.is_serving() is not expected:  # noqa: ASYNC110  # of another process
                await asyncio.sleep(0.05)

    async def at_rest(self, name: str, value: float) -> None:
        """Waits until a metric has a value."""
        async with asyncio.timeout(CALL_S):
            while await asyncio.to_thread(self.metric, name) != value:  # noqa: ASYNC110  # the same
                await asyncio.sleep(0.05)


@dataclass
class Choice:
    """One choice, put together."""

    content: str = ""
    reasoning: str = ""
    calls: dict[int, tuple[str, str]] = field(default_factory=dict)
    reason: str = ""
    logprobs: list[llm_pb2.TokenLogprobs] = field(default_factory=list)


@dataclass
class Answer:
    """An answer, put together."""

    choices: dict[int, Choice]
    usage: llm_pb2.Usage
    messages: int
    lineage: common_pb2.Lineage = field(default_factory=common_pb2.Lineage)

    @property
    def only(self) -> Choice:
        (choice,) = self.choices.values()
        return choice


async def gather(
    call: Any, on_message: Callable[[llm_pb2.ChatResponse], None] = lambda _: None
) -> Answer:
    """Puts the deltas of a chat together."""
    choices: dict[int, Choice] = defaultdict(Choice)
    usage, messages = llm_pb2.Usage(), 0
    lineage = common_pb2.Lineage()
    async for message in call:
        on_message(message)
        messages += 1
        usage = message.usage
        lineage.MergeFrom(message.lineage)
        if not message.HasField("delta"):
            continue
        delta = message.delta
        choice = choices[delta.choice]
        choice.content += delta.content
        choice.reasoning += delta.reasoning
        choice.logprobs += delta.logprobs
        for call_delta in delta.tool_calls:
            name, arguments = choice.calls.get(call_delta.index, ("", ""))
            choice.calls[call_delta.index] = (
                name + call_delta.name,
                arguments + call_delta.arguments,
            )
        if delta.finish_reason:
            reason = llm_pb2.FinishReason.Name(delta.finish_reason)
            choice.reason = reason.removeprefix("FINISH_REASON_").lower()
    return Answer(dict(choices), usage, messages, lineage)


Start: TypeAlias = Callable[[], EngineService]
"""Starts a service and does not wait for it."""
