"""Answers that are streams, over HTTP, from a service that counts."""

import asyncio
import contextlib
import json
import random
import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import httpx
import pytest

from counter_gateway import PATH
from counter_mesh import CounterMesh
from processes import PATIENCE_S, until


@pytest.fixture
def client(counter_mesh: CounterMesh) -> Iterator[httpx.Client]:
    with counter_mesh.client() as opened:
        yield opened


def events(text: str) -> list[Any]:
    """The data of the events, each of which has a line and an empty one."""
    *parts, rest = text.split("\n\n")
    assert rest == ""
    assert all(part.startswith("data: ") and "\n" not in part for part in parts)
    return [json.loads(part.removeprefix("data: ")) for part in parts]


def begin(mesh: CounterMesh, wish: str) -> tuple[HTTPConnection, HTTPResponse]:
    """A connection whose stream has begun."""
    connection = HTTPConnection("127.0.0.1", mesh.gateway.port, timeout=PATIENCE_S)
    headers = {"authorization": f"Bearer {mesh.key.text}", "content-type": "application/json"}
    connection.request("POST", PATH, json.dumps({"wish": wish}), headers)
    response = connection.getresponse()
    assert response.status == 200
    return connection, response


def test_events_come_in_order(client: httpx.Client, counter_mesh: CounterMesh) -> None:
    answer = client.post(PATH, json={"wish": "5"}, headers={"x-request-id": "count-5"})
    assert answer.status_code == 200
    assert events(answer.text) == ["0", "1", "2", "3", "4", "end"]
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-request-id"] == "count-5"
    assert answer.headers["ratelimit"].startswith('"')
    until(counter_mesh.at_rest, "rest")


def test_each_event_is_sent_when_it_is_made(counter_mesh: CounterMesh) -> None:
    connection, response = begin(counter_mesh, "2 wait")
    with contextlib.closing(connection):
        assert [response.readline() for _ in range(4)] == [
            b'data: "0"\n',
            b"\n",
            b'data: "1"\n',
            b"\n",
        ]
        assert counter_mesh.counter.counts()["open"] == 1
        assert not counter_mesh.gateway.at_rest()
    until(counter_mesh.at_rest, "rest after the caller has left")


def test_an_error_before_the_first_event_is_an_ordinary_one(
    client: httpx.Client, counter_mesh: CounterMesh
) -> None:
    answer = client.post(PATH, json={"wish": "refuse"})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "wish is refused; wish for something else"
    until(counter_mesh.at_rest, "rest")


def test_a_fault_amid_a_stream_is_its_last_event(
    client: httpx.Client, counter_mesh: CounterMesh
) -> None:
    answer = client.post(PATH, json={"wish": "2 fault"})
    assert answer.status_code == 200
    *before, last = events(answer.text)
    assert before == ["0", "1"]
    assert set(last) == {"error"}
    assert set(last["error"]) == {"message", "type", "param", "code"}
    assert last["error"]["type"] == "server_error"
    assert "secret" not in answer.text
    assert "ZeroDivisionError" not in answer.text
    until(counter_mesh.at_rest, "rest")


def test_the_service_learns_who_asks(client: httpx.Client, counter_mesh: CounterMesh) -> None:
    mine = {"x-mesh-tenant": "another", "x-mesh-key-id": "another", "x-mesh-hops": "3"}
    answer = client.post(PATH, json={"wish": "who"}, headers=mine)
    assert events(answer.text) == [f"{counter_mesh.key.id} shop", "end"]


def test_a_deadline_ends_a_stream(client: httpx.Client, counter_mesh: CounterMesh) -> None:
    answer = client.post(PATH, json={"wish": "1 wait"}, headers={"x-request-timeout-ms": "1500"})
    assert answer.status_code == 200
    *before, last = events(answer.text)
    assert before == ["0"]
    assert last["error"]["type"] == "server_error"
    assert "deadline" in last["error"]["message"]
    until(counter_mesh.at_rest, "rest")


def test_a_message_over_the_limit_of_the_mesh_is_an_ordinary_error(
    client: httpx.Client, counter_mesh: CounterMesh
) -> None:
    answer = client.post(PATH, json={"wish": "9000000 bytes"})
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["reason"] == "PAYLOAD_TOO_LARGE"
    until(counter_mesh.at_rest, "rest")


def test_a_caller_that_does_not_read_holds_its_own_stream_back(counter_mesh: CounterMesh) -> None:
    made = counter_mesh.counter.counts().get("made", 0)
    connection, response = begin(counter_mesh, "for ever")
    with contextlib.closing(connection):
        until(counter_mesh.stands_still, "the stream's standstill")
        held = counter_mesh.counter.counts()["made"] - made
        # What the sockets and flow control windows hold, of 100 kB each; not a stream for ever.
        assert held < 500
        with counter_mesh.client() as other:
            assert events(other.post(PATH, json={"wish": "1"}).text) == ["0", "end"]
        for _ in range(2 * held):
            response.readline()
            response.readline()
        assert counter_mesh.counter.counts()["made"] - made > held
    until(counter_mesh.at_rest, "rest")


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CounterMesh]:
    """A mesh whose streams may not pause."""
    folder = tmp_path_factory.mktemp("hasty")
    with CounterMesh(folder, MESH_GATEWAY_STREAM_IDLE_TIMEOUT_S=0.5) as started:
        yield started


def test_a_service_that_falls_silent_ends_the_stream(hasty: CounterMesh) -> None:
    with hasty.client() as client:
        answer = client.post(PATH, json={"wish": "1 wait"})
    *before, last = events(answer.text)
    assert before == ["0"]
    assert "the service has sent nothing for 0.5 s" in last["error"]["message"]
    until(hasty.at_rest, "rest")


def test_a_service_that_says_nothing_at_all_is_an_ordinary_error(hasty: CounterMesh) -> None:
    with hasty.client() as client:
        answer = client.post(PATH, json={"wish": "0 wait"})
    assert answer.status_code == 504
    assert answer.json()["reason"] == "STREAM_IDLE"
    until(hasty.at_rest, "rest")


def test_a_caller_that_never_reads_is_let_go(hasty: CounterMesh) -> None:
    connection, _ = begin(hasty, "for ever")
    with contextlib.closing(connection):
        until(hasty.at_rest, "rest, though the caller has left its connection open")
    assert hasty.backend_state() == "ready"


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_a_caller_that_leaves_ends_the_work(counter_mesh: CounterMesh, how: str) -> None:
    connection, response = begin(counter_mesh, "for ever")
    response.read(1000)
    if how == "reset":
        linger = b"\1\0\0\0\0\0\0\0"
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    response.close()
    connection.close()
    until(counter_mesh.at_rest, "rest after the caller has left")


def test_a_stream_holds_a_slot_until_it_ends(counter_mesh: CounterMesh) -> None:
    key = counter_mesh.make_key(max_concurrent=1)
    counter_mesh.set_scopes(key, "counter")
    with counter_mesh.client(key) as client:
        with client.stream("POST", PATH, json={"wish": "1 wait"}) as held:
            assert held.status_code == 200
            refused = client.post(PATH, json={"wish": "1"})
            assert refused.status_code == 429
            assert "may have 1 requests in flight" in refused.json()["detail"]
        until(lambda: client.post(PATH, json={"wish": "1"}).status_code == 200, "a free slot")
    until(counter_mesh.at_rest, "rest")


async def test_many_callers_that_leave_at_random_leave_nothing(counter_mesh: CounterMesh) -> None:
    chance = random.Random(5)
    wishes = ("0", "3", "2 wait", "1 fault", "refuse", "for ever")

    async def call(client: httpx.AsyncClient) -> None:
        await asyncio.sleep(chance.uniform(0, 0.5))
        wish = {"wish": chance.choice(wishes)}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(chance.uniform(0, 0.5)):
                async with client.stream("POST", PATH, json=wish) as answer:
                    async for _ in answer.aiter_bytes():
                        pass

    with counter_mesh.client() as usual:
        headers = dict(usual.headers)
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(
        base_url=counter_mesh.gateway.url, headers=headers, limits=limits, timeout=PATIENCE_S
    ) as client:
        await asyncio.gather(*[call(client) for _ in range(300)])
    await asyncio.to_thread(until, counter_mesh.at_rest, "rest")


def test_a_service_killed_amid_a_stream(tmp_path: Path) -> None:
    with CounterMesh(tmp_path) as mesh:
        connection, response = begin(mesh, "1 wait")
        with contextlib.closing(connection):
            assert response.readline() == b'data: "0"\n'
            mesh.counter.kill()
            assert response.readline() == b"\n"
            (last,) = events(response.read().decode())
        assert last["error"]["type"] == "server_error"
        until(mesh.gateway.at_rest, "rest")
        with mesh.client() as client:
            refused = client.post(PATH, json={"wish": "1"})
            assert refused.status_code == 503
            mesh.counter.start()
            until(
                lambda: client.post(PATH, json={"wish": "1"}).status_code == 200,
                "answers of the new process",
            )
