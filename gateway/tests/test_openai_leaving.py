"""Generations whose callers leave, read slowly or not at all, and processes that die amid them."""

import asyncio
import contextlib
import json
import random
import signal
import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import httpx
import pytest

from llm_mesh import LlmMesh, chat, chunks
from processes import PATIENCE_S, until

PATH = "/v1/chat/completions"
FOR_EVER = "for ever"
SILENT = "say a; wait"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlmMesh]:
    """A mesh of their own: what it holds at rest is looked at."""
    with LlmMesh(tmp_path_factory.mktemp("leaving")) as started:
        yield started


def begin(mesh: LlmMesh, script: str, *, stream: bool | None = True) -> HTTPConnection:
    """A connection that has asked; with None it says nothing of a stream."""
    connection = HTTPConnection("127.0.0.1", mesh.gateway.port, timeout=PATIENCE_S)
    headers = {"authorization": f"Bearer {mesh.key.text}", "content-type": "application/json"}
    body = chat(script) if stream is None else chat(script, stream=stream)
    connection.request("POST", PATH, json.dumps(body), headers)
    return connection


def begun(mesh: LlmMesh, script: str) -> tuple[HTTPConnection, HTTPResponse]:
    """A connection whose stream has begun."""
    connection = begin(mesh, script)
    response = connection.getresponse()
    assert response.status == 200
    return connection, response


def leave(connection: HTTPConnection, how: str) -> None:
    """Closes a connection, by FIN or by RST."""
    if how == "reset":
        linger = b"\1\0\0\0\0\0\0\0"
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    connection.sock.close()
    connection.close()


@pytest.mark.parametrize("how", ["closed", "reset"])
@pytest.mark.parametrize("script", [FOR_EVER, SILENT, "wait"])
def test_a_stream_whose_caller_leaves(mesh: LlmMesh, script: str, how: str) -> None:
    ended = mesh.llm.counts()["ended"]
    connection = begin(mesh, script)
    until(lambda: mesh.llm.counts()["open"] == 1, "the beginning")
    leave(connection, how)
    until(mesh.at_rest, "rest")
    assert mesh.llm.counts()["ended"] > ended


@pytest.mark.parametrize("how", ["closed", "reset"])
@pytest.mark.parametrize("stream", [None, False])
def test_a_whole_answer_whose_caller_leaves(mesh: LlmMesh, how: str, stream: bool | None) -> None:
    connection = begin(mesh, SILENT, stream=stream)
    until(lambda: mesh.llm.counts()["open"] == 1, "the beginning")
    leave(connection, how)
    until(mesh.at_rest, "rest")


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1/completions", {"prompt": SILENT, "max_tokens": 5}),
        ("/v1/responses", {"input": SILENT}),
        ("/v1/responses", {"input": SILENT, "stream": True}),
    ],
)
def test_another_generation_whose_caller_leaves(
    mesh: LlmMesh, path: str, more: dict[str, Any]
) -> None:
    connection = HTTPConnection("127.0.0.1", mesh.gateway.port, timeout=PATIENCE_S)
    headers = {"authorization": f"Bearer {mesh.key.text}", "content-type": "application/json"}
    connection.request("POST", path, json.dumps({"model": "llm", **more}), headers)
    until(lambda: mesh.llm.counts()["open"] == 1, "the beginning")
    leave(connection, "closed")
    until(mesh.at_rest, "rest")


def test_a_caller_that_half_closes_has_left(mesh: LlmMesh) -> None:
    body = json.dumps(chat(SILENT, stream=True)).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {mesh.key.text}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", mesh.gateway.port), PATIENCE_S) as connection:
        connection.sendall(head.encode() + body)
        until(lambda: mesh.llm.counts()["open"] == 1, "the beginning")
        connection.shutdown(socket.SHUT_WR)
        until(mesh.at_rest, "rest, though half of the connection is open")


def test_a_caller_that_reads_nothing_holds_its_own_generation_back(mesh: LlmMesh) -> None:
    looks: list[int] = []

    def stands_still() -> bool:
        looks.append(mesh.llm.counts()["made"])
        return len(looks) > 20 and len(set(looks[-20:])) == 1

    made = mesh.llm.counts()["made"]
    connection, response = begun(mesh, FOR_EVER)
    with contextlib.closing(connection):
        until(stands_still, "the generation's standstill")
        # What sockets and flow control hold, of 10 kB each; not a stream for ever.
        assert mesh.llm.counts()["made"] - made < 5000
        with mesh.client() as other:
            assert chunks(other.post(PATH, json=chat("hi", stream=True)).text)
        response.read(5_000_000)
        leave(connection, "reset")
    until(mesh.at_rest, "rest")


def test_the_llm_killed_amid_a_stream(mesh: LlmMesh) -> None:
    connection, response = begun(mesh, SILENT)
    with contextlib.closing(connection):
        assert response.readline().startswith(b'data: {"id"')
        mesh.llm.kill()
        rest = response.read().decode()
    *_, last, end = rest.split("\n\n")
    assert end == ""
    assert json.loads(last.removeprefix("data: "))["error"]["type"] == "server_error"
    assert "[DONE]" not in rest
    until(mesh.gateway.at_rest, "rest")
    with mesh.client() as client:
        assert client.post(PATH, json=chat("hi")).status_code == 503
        mesh.llm.start()
        until(lambda: client.post(PATH, json=chat("hi")).status_code == 200, "new answers")


def test_a_gateway_killed_amid_streams_leaves_no_generation(mesh: LlmMesh) -> None:
    connections = [begin(mesh, script) for script in (SILENT, FOR_EVER, "wait")]
    until(lambda: mesh.llm.counts()["open"] == 3, "the beginnings")
    mesh.gateway.kill()
    until(lambda: mesh.llm.counts()["open"] == 0, "the end of the generations")
    for connection in connections:
        connection.close()
    start_again(mesh)


def test_a_gateway_that_stops_finishes_its_streams(mesh: LlmMesh) -> None:
    connection, response = begun(mesh, "pause 50; words 40")
    with contextlib.closing(connection):
        mesh.gateway.signal(signal.SIGTERM)
        assert b"[DONE]" in response.read()
    assert mesh.gateway.wait() == 0
    start_again(mesh)


def start_again(mesh: LlmMesh) -> None:
    """Starts the gateway again, and sees it answer."""
    mesh.gateway.start()
    until(lambda: mesh.gateway.backend("llm") == "ready", "the llm's readiness")
    with mesh.client() as client:
        assert client.post(PATH, json=chat("hi")).status_code == 200


async def abandon(client: httpx.AsyncClient, chance: random.Random) -> None:
    """One request that is given up at some moment."""
    scripts = ("hi", "words 30", "pause 20; words 30", SILENT, "wait", FOR_EVER, "say a; fault")
    body = chat(chance.choice(scripts), stream=chance.random() < 0.8, max_tokens=200)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(chance.uniform(0, 0.6)):
            async with client.stream("POST", PATH, json=body) as answer:
                async for _ in answer.aiter_bytes():
                    pass


async def abandon_many(mesh: LlmMesh, number: int, at_once: int) -> None:
    """Requests that are given up at random moments."""
    chance = random.Random(9)
    places = asyncio.Semaphore(at_once)
    headers = {"authorization": f"Bearer {mesh.key.text}"}
    limits = httpx.Limits(max_connections=at_once)

    async def one(client: httpx.AsyncClient) -> None:
        async with places:
            await abandon(client, chance)

    async with httpx.AsyncClient(
        base_url=mesh.gateway.url, headers=headers, limits=limits, timeout=PATIENCE_S
    ) as client:
        await asyncio.gather(*[one(client) for _ in range(number)])


async def test_callers_that_leave_at_random_leave_nothing(mesh: LlmMesh) -> None:
    await abandon_many(mesh, 100, 50)
    await asyncio.to_thread(until, mesh.at_rest, "rest")


def resident_kib(mesh: LlmMesh) -> int:
    """Memory of the gateway."""
    process = mesh.gateway._process
    assert process is not None
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


@pytest.mark.full
async def test_thousands_of_callers_that_leave_at_random_leave_no_memory(mesh: LlmMesh) -> None:
    """The first ones fill what the allocator keeps for the next, which is some 20 MiB."""
    await abandon_many(mesh, 1500, 100)
    await asyncio.to_thread(until, mesh.at_rest, "rest")
    before = resident_kib(mesh)
    await abandon_many(mesh, 4000, 100)
    await asyncio.to_thread(until, mesh.at_rest, "rest")
    # What they would leave if each left 6 KiB, a tenth of one stream.
    assert resident_kib(mesh) - before < 6 * 4000
