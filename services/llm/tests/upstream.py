"""An upstream of OpenAI's protocol on a local port, that behaves as it is told."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

Behaviour = Callable[["Exchange"], Awaitable[None]]
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)


@dataclass
class Exchange:
    """One request and the connection that its answer goes to."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def chunk(self, data: bytes) -> None:
        """Sends a chunk of a body."""
        await self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def left(self) -> None:
        """Waits until the caller has closed the connection."""
        await self.reader.read()


@dataclass
class Upstream:
    """The requests that came, and what is done with the next ones."""

    url: str
    behaviours: list[Behaviour] = field(default_factory=list)
    requests: list[Exchange] = field(default_factory=list)

    def will(self, *behaviours: Behaviour) -> None:
        self.behaviours += behaviours


@asynccontextmanager
async def serving() -> AsyncIterator[Upstream]:
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await _answer_all(upstream, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            connections.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    upstream = Upstream(f"http://127.0.0.1:{port}/v1")
    try:
        yield upstream
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _answer_all(
    upstream: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    while head := await reader.readuntil(b"\r\n\r\n"):
        first, *lines = head.decode().split("\r\n")
        pairs = (line.partition(":") for line in lines if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        exchange = Exchange(first.split()[1], headers, body, reader, writer)
        upstream.requests.append(exchange)
        await upstream.behaviours.pop(0)(exchange)


def answer(chunks: Iterable[object], *, done: bool = True) -> Behaviour:
    """A stream of these chunks."""

    async def behave(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD)
        for chunk in chunks:
            await exchange.chunk(event(chunk))
        if done:
            await exchange.chunk(b"data: [DONE]\n\n")
        await exchange.send(b"0\r\n\r\n")

    return behave


def refuse(
    status: int, headers: Mapping[str, str] | None = None, error: object = None
) -> Behaviour:
    """A response of that status with an error object."""

    async def behave(exchange: Exchange) -> None:
        body = json.dumps({"error": error}).encode() if error else b"no"
        lines = [f"HTTP/1.1 {status} No", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        await exchange.send("\r\n".join([*lines, "", ""]).encode() + body)

    return behave


def event(chunk: object) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def content(text: str, choice: int = 0, reason: str | None = None) -> dict[str, Any]:
    """A chunk of a chat completion."""
    delta = {"content": text} if text else {}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "choices": [{"index": choice, "delta": delta, "finish_reason": reason}],
    }


def usage(prompt: int, completion: int, cached: int | None = None) -> dict[str, Any]:
    told: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion}
    if cached is not None:
        told["prompt_tokens_details"] = {"cached_tokens": cached}
    return {"choices": [], "usage": told}
