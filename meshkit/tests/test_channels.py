import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from grpc import aio

from meshkit.channels import server_options

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
PING = bytes([0, 0, 8, 6, 0, 0, 0, 0, 0]) + b"any data"
PING_FRAME, GOAWAY_FRAME = 6, 7
HEADER_BYTES = 9
PATIENCE_S = 30


@pytest.fixture
async def port() -> AsyncIterator[int]:
    server = aio.server(options=server_options(4 * 1024 * 1024))
    bound = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield bound
    await server.stop(None)


async def frames(reader: asyncio.StreamReader) -> AsyncIterator[int]:
    """The types of the frames that a server sends, until it hangs up."""
    with suppress(asyncio.IncompleteReadError, ConnectionResetError):
        while True:
            header = await reader.readexactly(HEADER_BYTES)
            await reader.readexactly(int.from_bytes(header[:3], "big"))
            yield header[3]


async def test_pings_as_channels_send_them_are_answered(port: int) -> None:
    """A keepalive ping every two seconds on a quiet connection once ended it after six."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(PREFACE)
    seen = frames(reader)
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(10):
            writer.write(PING)
            async for kind in seen:
                assert kind != GOAWAY_FRAME
                if kind == PING_FRAME:
                    break
            # What is tested: pings this far apart. Further apart is as good.
            await asyncio.sleep(0.1)
    writer.close()
    await writer.wait_closed()


async def test_a_server_hangs_up_on_a_flood_of_pings(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(PREFACE + PING * 100)
    async with asyncio.timeout(PATIENCE_S):
        assert GOAWAY_FRAME in [kind async for kind in frames(reader)]
    writer.close()
