"""A package index (PEP 503) on 127.0.0.1 that can be told to misbehave."""

import base64
import gzip
import re
import threading
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from small_archives import PACKAGE


@dataclass(frozen=True)
class Asked:
    """One request."""

    path: str
    range: str | None


class LocalIndex:
    """Serves archives of the sample package and records what was asked of it.

    Attributes:
        archives: content by file name.
        asked: every request so far.
        ranges: whether a part of a file can be asked for.
        lengths: whether answers say how long they are.
        keeps_open: whether connections stay open between requests.
        compresses: whether archives are compressed on the way for clients that accept it.
        breaks: after how many bytes the next downloads break off.
        statuses: what the next downloads are answered with.
        page_status: what the page of the package is answered with.
        user: name and password that are demanded, such as `me:secret`.
        gate: downloads wait until it is set.
    """

    def __init__(self) -> None:
        self.archives: dict[str, bytes] = {}
        self.asked: list[Asked] = []
        self.ranges = True
        self.lengths = True
        self.keeps_open = False
        self.compresses = False
        self.breaks: list[int] = []
        self.statuses: list[int] = []
        self.page_status = 200
        self.user: str | None = None
        self.gate = threading.Event()
        self.gate.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def address(self) -> str:
        """The host and port."""
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        """The address of the simple index."""
        return f"http://{self.address}/simple/"

    @property
    def downloads(self) -> list[Asked]:
        """The requests for archives."""
        return [asked for asked in self.asked if asked.path.startswith("/files/")]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, index: LocalIndex, *args: object) -> None:
        self.index = index
        super().__init__(*args)  # type: ignore[arg-type]  # what the server hands to any handler

    def do_GET(self) -> None:
        self.index.asked.append(Asked(self.path, self.headers.get("range")))
        if not self._is_welcome():
            self._answer(401, b"", {"www-authenticate": 'Basic realm="index"'})
        elif self.path == f"/simple/{PACKAGE}/":
            links = [f'<a href="/files/{name}">{name}</a>' for name in self.index.archives]
            self._answer(
                self.index.page_status, "\n".join(links).encode(), {"content-type": "text/html"}
            )
        elif (content := self.index.archives.get(self.path.removeprefix("/files/"))) is not None:
            self._send_archive(content)
        else:
            self._answer(404, b"", {})

    def _is_welcome(self) -> bool:
        if self.index.user is None:
            return True
        expected = "Basic " + base64.b64encode(self.index.user.encode()).decode()
        return self.headers.get("authorization") == expected

    def _send_archive(self, content: bytes) -> None:
        self.index.gate.wait()
        if self.index.statuses:
            self._answer(self.index.statuses.pop(0), b"", {})
            return
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        accepted = self.headers.get("accept-encoding", "")
        if start is None or not self.index.ranges:
            if self.index.compresses and "gzip" in accepted:
                self._answer(200, gzip.compress(content), {"content-encoding": "gzip"})
            else:
                self._answer(200, content, {})
        elif (first := int(start[1])) >= len(content):
            self._answer(416, b"", {"content-range": f"bytes */{len(content)}"})
        else:
            where = f"bytes {first}-{len(content) - 1}/{len(content)}"
            self._answer(206, content[first:], {"content-range": where})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.index.lengths:
            self.send_header("content-length", str(len(body)))
        if not (self.index.keeps_open and self.index.lengths):
            self.send_header("connection", "close")
        self.end_headers()
        if body and self.path.startswith("/files/") and self.index.breaks:
            body = body[: self.index.breaks.pop(0)]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # its name there
        """Writes nothing: the test asks for what it wants to know."""
