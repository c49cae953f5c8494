"""Load made with h2load, which speaks HTTP/1.1 and HTTP/2 and costs little itself."""

import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.processes import Served, ended_cpu_s, tool

_REMEDY: Final = "install the package nghttp2-client"
_TIMEOUT: Final = "10s"
_DATA: Final = re.compile(r"\((\d+)\) data$", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """A request.

    Attributes:
        sent_us: when it was sent, in microseconds of an epoch.
        status: of HTTP; negative where none came.
        waited_us: from then to the last byte of its answer.
    """

    sent_us: int
    status: int
    waited_us: int


@dataclass(frozen=True)
class Run:
    """What a run found.

    Attributes:
        rows: the requests.
        content_bytes: of all answers.
        cpu_s: CPU seconds of the server.
        maker_s: CPU seconds of h2load.
    """

    rows: Sequence[Row]
    content_bytes: int
    cpu_s: float
    maker_s: float

    @property
    def seconds(self) -> float:
        """From the first request to the last answer."""
        ended_us = max(row.sent_us + row.waited_us for row in self.rows)
        return (ended_us - min(row.sent_us for row in self.rows)) / 1e6


def run(url: str, body: bytes, headers: Mapping[str, str], server: Served, *options: str) -> Run:
    """Posts the body again and again.

    Args:
        url: where.
        body: of each request.
        headers: of each request.
        server: what answers.
        options: of h2load, such as how much is asked.

    Raises:
        SystemExit: h2load is not installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        data, found = Path(folder, "data"), Path(folder, "found")
        data.write_bytes(body)
        command: list[str | Path] = [
            *(tool("h2load", _REMEDY), f"--data={data}", f"--log-file={found}"),
            *(f"--header={name}: {value}" for name, value in headers.items()),
            *(f"--connection-inactivity-timeout={_TIMEOUT}", *options, url),
        ]
        began_s, made_s = server.cpu_s, ended_cpu_s()
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
        used_s, made_s = server.cpu_s - began_s, ended_cpu_s() - made_s
        lines = found.read_text().splitlines()
    rows = [Row(*(int(value) for value in line.split())) for line in lines]
    return Run(rows, int(_DATA.findall(ran.stdout)[0]), used_s, made_s)
