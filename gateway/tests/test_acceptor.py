"""Connections as they come: many at once, none where the process may open no more files."""

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress

import pytest
import trustme

from mesh_gateway import acceptor
from mesh_gateway.acceptor import Acceptor

CALLERS = 100


class Listener(socket.socket):
    """Accepts, but for as many failures as it is told of."""

    failures = 0
    tries = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.tries += 1
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


class Served(asyncio.Protocol):
    """Counts connections."""

    made = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        type(self).made += 1
        transport.close()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    with Listener(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as made:
        made.bind(("127.0.0.1", 0))
        made.listen(2 * CALLERS)
        yield made


@pytest.fixture
def protocol() -> type[Served]:
    """A protocol whose connections nobody else counts."""
    return type("Counted", (Served,), {})


async def until_made(protocol: type[Served], count: int) -> int:
    """Waits for so many connections, and says how many turns of the loop that took."""
    turns = 0
    async with asyncio.timeout(10):
        while protocol.made < count:
            turns += 1
            await asyncio.sleep(0)
    return turns


async def turns() -> None:
    """Lets the loop do all that is ready, and what comes of that."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_many_come_in_at_once(listener: Listener, protocol: type[Served]) -> None:
    with ExitStack() as callers:
        for _ in range(CALLERS):
            callers.enter_context(socket.create_connection(listener.getsockname()))
        accepting = Acceptor(listener, protocol, set(), {})
        # A turn each would be a hundred.
        assert await until_made(protocol, CALLERS) < 10
        accepting.close()
        await accepting.wait_closed()


async def test_without_files_it_tries_again_once_in_a_while(
    listener: Listener, protocol: type[Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor, "_RETRY_S", 0.05)
    listener.failures = 2
    accepting = Acceptor(listener, protocol, set(), {})
    with socket.create_connection(listener.getsockname()):
        await until_made(protocol, 1)
    # Two that failed, one that did not, and one that found nobody.
    assert listener.tries == 4
    accepting.close()
    await accepting.wait_closed()


async def test_a_caller_whose_handshake_fails_is_forgotten(
    listener: Listener, protocol: type[Served]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    callers: set[int] = set()
    accepting = Acceptor(listener, protocol, callers, {"ssl": context})
    assert callers == {listener.fileno()}
    with socket.create_connection(listener.getsockname()) as stranger:
        async with asyncio.timeout(10):
            await turns()
            assert len(callers) == 2
            stranger.send(b"no TLS at all")
            # The refusal of TLS comes before the connection is closed, and forgotten with that.
            loop = asyncio.get_running_loop()
            stranger.setblocking(False)
            with suppress(ConnectionResetError):
                while await loop.sock_recv(stranger, 1000):
                    pass
            await turns()
            assert callers == {listener.fileno()}
    accepting.close()
    await accepting.wait_closed()
    assert not callers


async def test_closed_it_accepts_no_more_and_ends_handshakes(
    listener: Listener, protocol: type[Served]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    accepting = Acceptor(listener, protocol, set(), {"ssl": context})
    with socket.create_connection(listener.getsockname()) as silent:
        await turns()
        accepting.close()
        await accepting.wait_closed()
        silent.setblocking(False)
        async with asyncio.timeout(10):
            assert await asyncio.get_running_loop().sock_recv(silent, 1) == b""
    tries = listener.tries
    with socket.create_connection(listener.getsockname()):
        await turns()
    assert listener.tries == tries == 2  # the second one found nobody
    assert protocol.made == 0
