"""The service as it is started: a process of its own."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from mesh.llm.v1 import llm_pb2, llm_pb2_grpc
from ports import free_port
from serving import request, said
from support import PATIENCE_S
from upstream import Upstream, answer, content, usage


class Started:
    def __init__(self, log: Path, **settings: str) -> None:
        self.ports = free_port(), free_port()
        self.log = log
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
        ports = {
            "MESH_LLM_GRPC_PORT": str(self.ports[0]),
            "MESH_LLM_ADMIN_PORT": str(self.ports[1]),
        }
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mesh_llm"],
                env={**kept, **ports, **settings},
                stdout=output,
                stderr=output,
            )

    def metrics(self) -> str:
        url = f"http://127.0.0.1:{self.ports[1]}/metrics"
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as response:
            page: bytes = response.read()
        return page.decode()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Started]]:
    every: list[Started] = []
    yield every
    for each in every:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()


async def test_it_answers_measures_and_ends(
    started: list[Started], upstream: Upstream, tmp_path: Path
) -> None:
    service = Started(
        tmp_path / "log", MESH_LLM_ENGINE="remote", MESH_LLM_UPSTREAM_URL=upstream.url
    )
    started.append(service)
    secret = "a prompt that nobody is to read"
    upstream.will(answer([content("a"), content("b", reason="stop"), usage(7, 2, cached=4)]))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{service.ports[0]}") as channel:
        stub = llm_pb2_grpc.LlmServiceStub(channel)
        call = stub.Chat(request(secret), timeout=PATIENCE_S, wait_for_ready=True)
        messages: list[llm_pb2.ChatResponse] = await said(call)
    assert "".join(message.delta.content for message in messages) == "ab"
    metrics = service.metrics()
    labels = 'gen_ai_operation_name="chat",gen_ai_request_model="llm"'
    for line in (
        f"gen_ai_server_request_duration_seconds_count{{{labels}}} 1.0",
        f"gen_ai_server_time_to_first_token_seconds_count{{{labels}}} 1.0",
        f"gen_ai_server_time_per_output_token_seconds_count{{{labels}}} 1.0",
        f'mesh_tokens_total{{{labels},gen_ai_token_type="input"}} 7.0',
        f'mesh_tokens_total{{{labels},gen_ai_token_type="output"}} 2.0',
        f'mesh_tokens_total{{{labels},gen_ai_token_type="cached"}} 4.0',
        "mesh_engine_up 1.0",
        "mesh_requests_in_flight 0.0",
    ):
        assert line in metrics, metrics
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(timeout=PATIENCE_S) == 0
    assert secret not in service.log.read_text()


@pytest.mark.parametrize(
    ("settings", "said_last"),
    [
        ({}, "MESH_LLM_MODELS_PATH is not set"),
        ({"MESH_MODELS_PATH": "/nowhere"}, "no version of llm is in production in /nowhere"),
        (
            {"MESH_MODELS_PATH": "/nowhere", "MESH_LLM_MODEL_VERSION": "gone"},
            "llm:gone is not in the store",
        ),
    ],
)
def test_without_a_model_it_says_how_to_get_one(
    started: list[Started], tmp_path: Path, settings: dict[str, str], said_last: str
) -> None:
    service = Started(tmp_path / "log", **settings)
    started.append(service)
    assert service.process.wait(timeout=PATIENCE_S) == 2
    assert service.log.read_text().splitlines()[-1].startswith(said_last)


def test_without_its_engine_it_says_what_to_install(started: list[Started], tmp_path: Path) -> None:
    service = Started(tmp_path / "log", MESH_LLM_MODEL_URI=str(tmp_path))
    started.append(service)
    assert service.process.wait(timeout=PATIENCE_S) == 2
    assert "install the requirements of the engine" in service.log.read_text().splitlines()[-1]
