"""What HTTP servers answer to clients that mean ill: statuses, what was smuggled, and memory.

Each serves the same application on 127.0.0.1, which answers a request with its path and how long
its body was. `ours` is uvicorn with the gateway's protocol. What is "smuggled" was sent as part of
a request that readers may disagree on, and was answered as a request of its own.

    gateway/.venv/bin/python loadtests/gateway/hostile.py [--granian PYTHON]

PYTHON is one that has granian.
"""

import argparse
import asyncio
import contextlib
import http.client
import re
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab.processes import free_ports, process

HERE = Path(__file__).resolve()
MOST_HEAD_BYTES, HEAD_TIMEOUT_S = 32 * 1024, 10.0
QUIET_S, LONGEST_S, PATIENCE_S = 0.3, 3.0, 30.0
MANY = 20_000_000
CHUNKED = b"transfer-encoding: chunked"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: mesh\r\n\r\n"
LENGTH = b"content-length: %d" % len(SMUGGLED)
UPGRADE = (b"connection: upgrade", b"upgrade: h2c")


def post(*headers: bytes, body: bytes = b"", line: bytes = b"POST /asked HTTP/1.1") -> bytes:
    """A request."""
    return b"\r\n".join([line, b"host: mesh", *headers, b"", body])


WHOLE = b"POST /whole HTTP/1.1"
WRONG = {
    b"/smuggled": "smuggled",
    b"with a key": "as a header",
    b"/whole 0": "its body lost",
}
END = b"0\r\n\r\n"
CASES: Mapping[str, tuple[bytes, ...]] = {
    "content-length and transfer-encoding": (post(LENGTH, CHUNKED, body=END + SMUGGLED),),
    "two different content-lengths": (post(b"content-length: 0", LENGTH, body=SMUGGLED),),
    "content-length: +5": (post(b"content-length: +5", body=b"hello"),),
    "content-length of 65 bits": (post(b"content-length: 18446744073709551617"),),
    "folded header line": (post(b"x: a\r\n " + CHUNKED, body=END),),
    "space before the colon": (post(b"content-length : 0"),),
    "bare line feeds": (b"GET /asked HTTP/1.1\nhost: mesh\n\n",),
    "control character in a header": (post(b"x: a\1b"),),
    "identity, then chunked, in two lines": (
        post(b"transfer-encoding: identity", CHUNKED, body=END + SMUGGLED),
    ),
    "gzip, chunked": (post(b"transfer-encoding: gzip, chunked", body=END),),
    "chunked twice": (post(CHUNKED, CHUNKED, body=END + SMUGGLED),),
    "space behind a chunk size": (post(CHUNKED, body=b"5 \r\nhello\r\n" + END),),
    "chunk longer than its size": (post(CHUNKED, body=b"3\r\nhello\r\n" + END),),
    "content-length in a trailer": (post(CHUNKED, body=b"0\r\n" + LENGTH + b"\r\n\r\n"),),
    "header in a trailer": (post(CHUNKED, body=b"0\r\nx-api-key: a\r\n\r\n"),),
    "no host": (b"GET /asked HTTP/1.1\r\n\r\n",),
    "two hosts": (post(b"host: another"),),
    "a target without a slash": (post(line=b"GET asked HTTP/1.1"),),
    "HTTP/0.9": (b"GET /asked\r\n\r\n",),
    "HTTP/2.0 by name": (post(line=b"GET /asked HTTP/2.0"),),
    "upgrade, and a body": (post(*UPGRADE, LENGTH, body=SMUGGLED, line=WHOLE),),
    "a body behind an upgrade": (
        post(*UPGRADE, line=b"GET /asked HTTP/1.1") + post(LENGTH, line=WHOLE),
        SMUGGLED,
    ),
    "a good request, then a bad one": (post() + b"nonsense\r\n\r\n",),
    "a header of 20 MB": (post(b"x: " + b"a" * MANY),),
    "1,000 headers": (post(*[b"a: b"] * 1000),),
    "a target of 100 KB": (post(line=b"GET /" + b"a" * 100_000 + b" HTTP/1.1"),),
    "a trailer of 20 MB": (post(CHUNKED, body=b"0\r\nx: " + b"a" * MANY + b"\r\n\r\n"),),
    "a chunk extension of 20 MB": (post(CHUNKED, body=b"0;" + b"a" * MANY + b"\r\n\r\n"),),
    "100,000 requests in a row": (post(b"content-length: 0") * 100_000,),
}


async def app(
    scope: Mapping[str, Any],
    receive: Callable[[], Awaitable[Mapping[str, Any]]],
    send: Callable[[Mapping[str, Any]], Awaitable[None]],
) -> None:
    """Answers with what it was asked, after a moment in which requests may pile up."""
    size, more = 0, scope["type"] == "http"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        more = message["more_body"]
    await asyncio.sleep(0.001)
    key = "with a key" if any(name == b"x-api-key" for name, _ in scope["headers"]) else ""
    content = f"{scope['path'][:20]} {size} {key}".strip().encode()
    length = (b"content-length", str(len(content)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": content, "more_body": False})


def serve(server: str, port: int) -> None:
    """Serves until the process ends. What only one of them needs is imported for it alone."""
    if server == "granian":
        granian = import_module("granian")
        granian.Granian(
            f"{HERE.stem}:app", port=port, interface="asginl", websockets=False, log_enabled=False
        ).serve()
        return
    parser: Any = server
    if server == "ours":
        made = import_module("mesh_gateway.http_protocol")
        parser = made.protocol(MOST_HEAD_BYTES, HEAD_TIMEOUT_S)
    import_module("uvicorn").run(
        app, port=port, http=parser, loop="asyncio", ws="none", lifespan="off", log_level=60
    )


@contextlib.contextmanager
def running(python: str, server: str) -> Iterator[tuple[int, int]]:
    """A server: its port and its process."""
    (port,) = free_ports(1)
    path = {"PYTHONPATH": str(HERE.parent)}  # granian imports the application by its name
    with process([python, HERE, "--serve", server, str(port)], path) as found:
        found.until(lambda: answers(port), f"{server} serves")
        yield port, found.pid


def answers(port: int) -> bool:
    """Whether the server answers another caller."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def talk(port: int, parts: tuple[bytes, ...]) -> bytes:
    """What comes back until the server closes or says no more."""
    received = b""
    give_up_at = time.monotonic() + LONGEST_S
    with (
        socket.create_connection(("127.0.0.1", port), LONGEST_S) as connection,
        contextlib.suppress(OSError),
    ):
        with contextlib.suppress(OSError):
            for part in parts:
                connection.sendall(part)
                time.sleep(0.1)  # so that each part is read by itself
        connection.settimeout(QUIET_S)
        while time.monotonic() < give_up_at and (part := connection.recv(1 << 16)):
            received += part
    return received


def told(received: bytes) -> str:
    """Statuses, with what is wrong about them."""
    found = [status.decode() for status in re.findall(rb"HTTP/1\.[01] (\d{3})", received)]
    text = ", ".join([*found[:2], *(["..."] if len(found) > 2 else [])]) or "nothing"
    return text + "".join(f", **{wrong}**" for sign, wrong in WRONG.items() if sign in received)


def peak_mb(pid: int) -> int:
    """Most memory that a process and its children have had since they were asked to forget."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    status = Path(f"/proc/{pid}/status").read_text()
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    own = re.search(r"VmHWM:\s+(\d+) kB", status)
    return (int(own[1]) // 1024 if own else 0) + sum(peak_mb(int(child)) for child in children)


def column(python: str, server: str) -> list[str]:
    """What a server answers to each case."""
    found = []
    with running(python, server) as (port, pid):
        for parts in CASES.values():
            peak_mb(pid)
            before = peak_mb(pid)
            answer = told(talk(port, parts))
            grown = peak_mb(pid) - before
            found.append(answer + (f", **+{grown} MB**" if grown >= 10 else ""))
    return found


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--granian", metavar="PYTHON")
    parser.add_argument("--serve", nargs=2, metavar=("SERVER", "PORT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve[0], int(arguments.serve[1]))
        return
    pythons = {"ours": sys.executable, "httptools": sys.executable, "h11": sys.executable}
    if arguments.granian:
        pythons["granian"] = arguments.granian
    columns = [column(python, server) for server, python in pythons.items()]
    rows = [("sent", *pythons), ["---"] * (len(pythons) + 1), *zip(CASES, *columns, strict=True)]
    sys.stdout.writelines(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    main()
