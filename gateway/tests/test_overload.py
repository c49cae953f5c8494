"""A gateway that has more requests than it can answer: what it says, and to whom it does not."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import pytest
import uvicorn
from msgspec import Struct
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from mesh_gateway import http_protocol
from mesh_gateway.direct import Body, Direct, WholeRoute
from mesh_gateway.exchange import Exchange
from mesh_gateway.observe import Observer
from mesh_gateway.openapi import Operation
from mesh_gateway.readiness import Drain
from mesh_gateway.rounds import Rounds

REQUEST = "POST {path} HTTP/1.1\r\nhost: mesh\r\nx-request-id: abc\r\ncontent-length: 2\r\n\r\n{{}}"


class Refusing:
    """A pace that lets nothing in."""

    def __init__(self, rounds: Rounds) -> None:
        pass

    def admits(self) -> bool:
        return False


class Connection(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self, own: socket.socket) -> None:
        super().__init__({"socket": own})
        self.written = b""
        self.news = asyncio.Event()
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data
        self.news.set()

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def never(_exchange: Exchange, _body: Body) -> bytes:
    raise AssertionError("a refused request got through")


ROUTE = WholeRoute(
    "/v1/classify", never, Operation("classify", "", "", request=None, response=Struct, tag=""), 1.0
)
NOT_DIRECT: Mapping[tuple[bytes, bytes], WholeRoute] = {}
# What comes whole is refused without a cycle.
DIRECT = {(b"POST", b"/v1/classify"): ROUTE}


@pytest.fixture(params=[NOT_DIRECT, DIRECT], ids=["in pieces", "whole"])
async def connected(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[asyncio.Protocol, Connection]]:
    monkeypatch.setattr(http_protocol, "Pace", Refusing)
    direct = Direct(request.param, Observer(None), 10.0, 4096, Drain())
    made = http_protocol.protocol(direct, Rounds(), 32 * 1024, 10.0)
    config = uvicorn.Config(
        answer, http=made, loop="none", ws="none", lifespan="off", log_config=None
    )
    config.load()
    protocol = made(  # type: ignore[call-arg]  # as uvicorn makes it
        config=config, server_state=ServerState(), app_state={}, _loop=asyncio.get_running_loop()
    )
    with socket.socket() as own:
        connection = Connection(own)
        protocol.connection_made(connection)
        yield protocol, connection


async def ask(
    connected: tuple[asyncio.Protocol, Connection], path: str, header: bytes = b""
) -> tuple[bytes, bytes]:
    """Head and body of the response to a request for a path, with a further header line."""
    protocol, connection = connected
    connection.written = b""
    connection.news.clear()
    request = REQUEST.format(path=path).encode()
    protocol.data_received(request.replace(b"content-length", header + b"content-length"))
    async with asyncio.timeout(10):
        await connection.news.wait()
    head, _, body = connection.written.partition(b"\r\n\r\n")
    assert b"\r\ncontent-length: %d" % len(body) in head or b" 204 " in head
    return head, body


async def test_it_says_so_and_keeps_the_connection(
    connected: tuple[asyncio.Protocol, Connection],
) -> None:
    for _ in range(2):
        head, body = await ask(connected, "/v1/classify")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\n" in head
        assert b"\r\nx-request-id: abc" in head
        assert b"connection: close" not in head
        problem = json.loads(body)
        assert problem["reason"] == "OVERLOADED"
        assert problem["request_id"] == "abc"
    assert not connected[1].closed


async def test_it_closes_the_connection_of_whoever_asks_for_that(
    connected: tuple[asyncio.Protocol, Connection],
) -> None:
    head, body = await ask(connected, "/v1/classify", b"connection: close\r\n")
    assert b"\r\nconnection: close" in head
    assert json.loads(body)["instance"] == "/v1/classify"
    assert connected[1].closed


async def test_a_caller_that_is_gone_is_forgotten(
    connected: tuple[asyncio.Protocol, Connection],
) -> None:
    protocol, connection = connected
    callers = cast(Any, protocol).callers
    callers.add(connection.get_extra_info("socket").fileno())
    protocol.connection_lost(None)
    assert callers == set()


async def test_requests_that_come_at_once_are_refused_in_their_order(
    connected: tuple[asyncio.Protocol, Connection],
) -> None:
    protocol, connection = connected
    request = REQUEST.format(path="/v1/classify").encode()
    ids = [f"id-{number}".encode() for number in range(5)]
    protocol.data_received(b"".join(request.replace(b"abc", each) for each in ids))
    async with asyncio.timeout(10):
        while connection.written.count(b"HTTP/1.1 503 ") < len(ids):
            connection.news.clear()
            await connection.news.wait()
    assert re.findall(rb"\r\nx-request-id: (\S+)", connection.written) == ids


async def test_open_inference_errors_have_their_own_form(
    connected: tuple[asyncio.Protocol, Connection],
) -> None:
    head, body = await ask(connected, "/v2/models/classifier/infer")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert list(json.loads(body)) == ["error"]


@pytest.mark.parametrize("path", ["/health", "/ready", "/v2/health/live", "/v2/health/ready"])
async def test_probes_are_answered(
    connected: tuple[asyncio.Protocol, Connection], path: str
) -> None:
    head, _ = await ask(connected, path)
    assert head.startswith(b"HTTP/1.1 204 ")
