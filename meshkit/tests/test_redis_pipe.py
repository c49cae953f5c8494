"""Trips that share a connection to a real Redis."""

import asyncio
from asyncio import Future
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio.connection import Connection
from redis.exceptions import ConnectionError as RedisConnectionError

from meshkit.redis_pipe import Command, Pipe
from redis_server import RedisServer

TIMEOUT_S = 30


def send(pipe: Pipe, *commands: Command, timeout_s: float = TIMEOUT_S) -> Future[list[Any]]:
    until_s = asyncio.get_running_loop().time() + timeout_s
    return pipe.send(commands, until_s, TimeoutError("too late"))


async def opened(redis_server: RedisServer) -> Pipe:
    return await Pipe.open(Connection(port=redis_server.port, protocol=2, driver_info=None))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # one Redis for all
@given(words=st.lists(st.lists(st.text(max_size=40), max_size=4), max_size=8))
def test_each_trip_has_its_own_answers(redis_server: RedisServer, words: list[list[str]]) -> None:
    async def travel() -> list[list[str]]:
        pipe = await opened(redis_server)
        # All are on their way at once.
        under_way = [send(pipe, *(("ECHO", word) for word in each)) for each in words if each]
        async with asyncio.timeout(TIMEOUT_S):
            answers = await asyncio.gather(*under_way)
        pipe.end(RedisConnectionError("over"))
        return list(answers)

    assert asyncio.run(travel()) == [each for each in words if each]


async def test_who_leaves_takes_nobodys_answers(redis_server: RedisServer) -> None:
    pipe = await opened(redis_server)
    async with asyncio.timeout(TIMEOUT_S):
        first, second, third = (send(pipe, ("ECHO", word)) for word in "abc")
        second.cancel()
        assert list(await asyncio.gather(first, third)) == [["a"], ["c"]]
    assert pipe.usable
    pipe.end(RedisConnectionError("over"))


async def test_a_connection_that_all_have_left_still_serves(redis_server: RedisServer) -> None:
    pipe = await opened(redis_server)
    async with asyncio.timeout(TIMEOUT_S):
        send(pipe, ("ECHO", "a")).cancel()
        assert await send(pipe, ("ECHO", "b")) == ["b"]
    pipe.end(RedisConnectionError("over"))


async def test_an_answer_that_nobody_waits_for_any_more_still_has_its_time(
    redis_server: RedisServer,
) -> None:
    pipe = await opened(redis_server)
    async with asyncio.timeout(TIMEOUT_S):
        send(pipe, ("BLPOP", "nothing", 0), timeout_s=0.01).cancel()
        with pytest.raises(TimeoutError, match="too late"):
            await send(pipe, ("ECHO", "b"))
    assert not pipe.usable


async def test_all_fail_when_the_connection_ends(redis_server: RedisServer) -> None:
    pipe, other = await opened(redis_server), await opened(redis_server)
    async with asyncio.timeout(TIMEOUT_S):
        waits = [send(pipe, ("BLPOP", "nothing", 0)), send(pipe, ("PING",))]
        (number,) = await send(other, ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
        assert number >= 1
        outcomes = await asyncio.gather(*waits, return_exceptions=True)
    assert [type(each) for each in outcomes] == [RedisConnectionError] * 2
    assert not pipe.usable
    other.end(RedisConnectionError("over"))


async def test_a_peer_that_is_no_redis_is_told_from_one() -> None:
    async def chatter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(chatter, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        pipe = await Pipe.open(Connection(port=port, protocol=2, driver_info=None))
        async with asyncio.timeout(TIMEOUT_S):
            with pytest.raises(RedisConnectionError, match="Protocol error"):
                await send(pipe, ("PING",))
        assert not pipe.usable
