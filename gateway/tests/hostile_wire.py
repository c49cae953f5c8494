"""HTTP as hostile callers write it: byte by byte, over one connection."""

import asyncio
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from hostile_scene import Scene
from processes import PATIENCE_S

Pair = tuple[str, str]


@dataclass(frozen=True)
class HttpAnswer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class HttpCase:
    """A request, and what it must be answered with.

    Attributes:
        name: what is wrong with it.
        make: its bytes.
        status: of the answer.
        reason: of the problem; None where the answer is none, or has the form of the Open Inference
            Protocol.
        words: that stand in the message, or in the answer where there is no error.
        whole: whether it is all that the server waits for; if not, the connection ends with it.
    """

    name: str
    make: Callable[[Scene], bytes]
    status: int
    reason: str | None
    words: str | Callable[[Scene], str]
    whole: bool = True

    def check(self, scene: Scene, answer: HttpAnswer) -> None:
        """Checks the answer."""
        told = f"{answer.headers}{answer.body.decode()}"
        scene.check_leaks(told)
        assert answer.status == self.status, f"{answer.status} {told[:2000]}"
        words = self.words if isinstance(self.words, str) else self.words(scene)
        assert words in self._message(answer), told[:2000]
        assert len(answer.headers["x-request-id"]) == 32

    def _message(self, answer: HttpAnswer) -> str:
        if self.status == 200:
            return answer.body.decode()
        body = json.loads(answer.body)
        if self.reason is None:
            assert answer.headers["content-type"] == "application/json"
            assert list(body) == ["error"]
            return str(body["error"])
        assert answer.headers["content-type"] == "application/problem+json"
        assert body["status"] == self.status
        assert body["reason"] == self.reason
        assert body["request_id"] == answer.headers["x-request-id"]
        return str(body["detail"])


def request(
    path: str, body: bytes, headers: Iterable[Pair], *, method: str = "POST", length: bool = True
) -> bytes:
    """The bytes of a request, with the length of its body unless that is left out."""
    lines = [f"{method} {path} HTTP/1.1", "host: mesh"]
    lines += [f"{name}: {value}" for name, value in headers]
    if length:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(body: bytes, size: int = 50_000) -> bytes:
    """A body in chunks."""
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])


class Attacker:
    """Sends one request after the other over a connection, and over a new one where it must.

    Args:
        port: of the gateway.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()

    async def ask(self, case: HttpCase, scene: Scene) -> HttpAnswer:
        """Sends the request of a case; what comes back."""
        answer = await self.send(case.make(scene))
        if not case.whole or answer.headers.get("connection") == "close":
            await self.leave()
        return answer

    async def send(self, content: bytes) -> HttpAnswer:
        """Sends bytes; what comes back."""
        async with asyncio.timeout(PATIENCE_S):
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            # Not drained: an answer may come before all is sent.
            writer.write(content)
            return await _read(reader)

    async def leave(self) -> None:
        """Closes the connection; the next request has another one."""
        if self._streams is not None:
            _, writer = self._streams
            self._streams = None
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> HttpAnswer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    pairs = [line.partition(":") for line in lines]
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers["content-length"]))
    return HttpAnswer(int(status.split()[1]), headers, body)
