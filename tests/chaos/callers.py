"""Callers that ask a mesh without pause and write down what became of each request.

They are plain HTTP/1.1 clients that never repeat a request: each has one connection, opens another
when it is told `connection: close`, and then goes to the next gateway that lets it in.
"""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

BROKEN: Final = 0
"""The status of a request whose connection broke before it was answered."""
_PATIENCE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request: the seconds are those of `time.monotonic`."""

    began_s: float
    ended_s: float
    status: int
    body: Any

    @property
    def elapsed_s(self) -> float:
        """How long it took."""
        return self.ended_s - self.began_s

    @property
    def version(self) -> str:
        """The version of the model that answered."""
        return str(self.body["lineage"]["version"])


class Callers:
    """Asks from the beginning of the block to its end, in a thread of its own.

    Args:
        ports: of the gateways; each caller begins with another.
        key: the API key.
        count: how many callers there are.
        headers: of each request.
    """

    def __init__(
        self, ports: Sequence[int], key: str, count: int, headers: Sequence[str] = ()
    ) -> None:
        self._ports = ports
        self._key = key
        self._count = count
        self._headers = headers
        self._leave = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._failures: list[BaseException] = []
        self.outcomes: list[Outcome] = []
        """In the order of their ends."""

    def __enter__(self) -> Self:
        self._thread.start()
        self.more(2 * self._count)
        return self

    def __exit__(self, *_: object) -> None:
        self._leave.set()
        self._thread.join(_PATIENCE_S)
        assert not self._thread.is_alive()
        assert self._failures == []

    def more(self, count: int) -> list[Outcome]:
        """Waits for so many more outcomes, and returns them."""
        begun = len(self.outcomes)
        self.until(lambda: len(self.outcomes) >= begun + count, f"{count} more outcomes")
        return self.outcomes[begun:]

    def until(self, true: Callable[[], bool], what: str) -> float:
        """Polls until it is true, and returns the seconds that it took."""
        began_s = time.monotonic()
        while not true():
            assert time.monotonic() < began_s + _PATIENCE_S, f"not so: {what}"
            time.sleep(0.02)
        return time.monotonic() - began_s

    def since(self, began_s: float) -> list[Outcome]:
        """The outcomes of requests that began after that time."""
        return [each for each in list(self.outcomes) if each.began_s >= began_s]

    @property
    def statuses(self) -> Counter[int]:
        """How often there was each status."""
        return Counter(each.status for each in list(self.outcomes))

    async def _run(self) -> None:
        done = await asyncio.gather(
            *[self._ask_on(number) for number in range(self._count)], return_exceptions=True
        )
        self._failures = [each for each in done if isinstance(each, BaseException)]

    async def _ask_on(self, number: int) -> None:
        connection = _Connection(self._ports, number)
        request = _request(
            self._key, f"It was {number} times as good as we thought.", self._headers
        )
        while not self._leave.is_set():
            self.outcomes.append(await connection.ask(request))
        await connection.close()


class _Connection:
    """The connection of one caller."""

    def __init__(self, ports: Sequence[int], number: int) -> None:
        self._ports = ports
        self._next = number
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> Outcome:
        """Asks once."""
        reader, writer = self._streams or await self._open()
        began_s = time.monotonic()
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            body = json.loads(await reader.readexactly(length))
        except (OSError, asyncio.IncompleteReadError):
            await self.close()
            return Outcome(began_s, time.monotonic(), BROKEN, None)
        outcome = Outcome(began_s, time.monotonic(), int(head.split()[1]), body)
        if "\r\nconnection: close\r\n" in head:
            await self.close()
        return outcome

    async def close(self) -> None:
        """Closes it, if it is open."""
        if self._streams:
            self._streams[1].close()
            self._streams = None

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        give_up_at = time.monotonic() + _PATIENCE_S
        while True:
            self._next += 1
            port = self._ports[self._next % len(self._ports)]
            try:
                self._streams = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                assert time.monotonic() < give_up_at, "no gateway lets anybody in"
                await asyncio.sleep(0.01)
            else:
                return self._streams


def _request(key: str, text: str, headers: Sequence[str]) -> bytes:
    body = json.dumps({"texts": [text], "allow_degraded": False}).encode()
    lines = [
        "POST /v1/classify HTTP/1.1",
        "host: mesh",
        f"authorization: Bearer {key}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
