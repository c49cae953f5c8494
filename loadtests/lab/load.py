"""Load over HTTP, made by programs that cost little themselves."""

import json
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lab.processes import Process, tool

WRK: Final = "install the package wrk"
VEGETA: Final = "go install github.com/tsenart/vegeta/v12@latest"
_SCRIPT: Final = """
local body = io.open(os.getenv("BODY"), "rb")
wrk.body = body:read("*a")
body:close()
wrk.method = "POST"
for line in os.getenv("HEADERS"):gmatch("[^\\n]+") do
  local name, value = line:match("^([^:]+): (.*)$")
  wrk.headers[name] = value
end
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\\nJSON {"requests": %d, "us": %d, "p50_us": %d, "p99_us": %d, "bad": %d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


@dataclass(frozen=True)
class Request:
    """A POST that is sent again and again."""

    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Load:
    """What a load found.

    Attributes:
        rate: answers per second.
        p50_ms: their median latency.
        p99_ms: their 99th percentile.
        cpu_us: CPU of the server for one of them.
        statuses: how often there was each status other than a good one; 0 for a broken connection.
    """

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    statuses: Mapping[int | str, int]

    def __str__(self) -> str:
        others = f", others {dict(self.statuses)}" if self.statuses else ""
        return (
            f"{self.rate:.0f}/s, p50 {self.p50_ms:.2f} ms, p99 {self.p99_ms:.2f} ms, "
            f"{self.cpu_us:.0f} us CPU{others}"
        )


def closed(request: Request, server: Process, *, connections: int, seconds: float) -> Load:
    """Asks over so many connections, each one request at a time, with wrk."""
    with tempfile.TemporaryDirectory() as folder:
        script, body = Path(folder, "post.lua"), Path(folder, "body")
        script.write_text(_SCRIPT)
        body.write_bytes(request.body)
        headers = "\n".join(f"{name}: {value}" for name, value in request.headers.items())
        command = [tool("wrk", WRK), "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s"]
        began_s = server.cpu_s
        ran = subprocess.run(
            [*command, script, request.url],
            env={"BODY": str(body), "HEADERS": headers},
            capture_output=True,
            text=True,
            check=True,
        )
        used_s = server.cpu_s - began_s
    found = json.loads(re.findall(r"^JSON (.*)$", ran.stdout, re.MULTILINE)[0])
    count = found["requests"]
    return Load(
        rate=count / found["us"] * 1e6,
        p50_ms=found["p50_us"] / 1000,
        p99_ms=found["p99_us"] / 1000,
        cpu_us=used_s / max(1, count) * 1e6,
        statuses={0: found["bad"]} if found["bad"] else {},
    )


def open_loop(request: Request, server: Process, *, rate: float, seconds: float) -> Load:
    """Asks so many times a second, whether or not it is answered, with vegeta."""
    with tempfile.TemporaryDirectory() as folder:
        body, results = Path(folder, "body"), Path(folder, "results")
        body.write_bytes(request.body)
        headers = [f"-header={name}: {value}" for name, value in request.headers.items()]
        command = [tool("vegeta", VEGETA), "attack", f"-rate={rate:.0f}", f"-duration={seconds:g}s"]
        began_s = server.cpu_s
        subprocess.run(
            [*command, f"-body={body}", *headers, f"-output={results}", "-timeout=10s"],
            input=f"POST {request.url}\n".encode(),
            check=True,
        )
        used_s = server.cpu_s - began_s
        ran = subprocess.run(
            [tool("vegeta", VEGETA), "report", "-type=json", results],
            capture_output=True,
            check=True,
        )
    found = json.loads(ran.stdout)
    codes = {int(code): count for code, count in found["status_codes"].items()}
    good = codes.pop(200, 0)
    return Load(
        rate=good / (found["duration"] / 1e9),
        p50_ms=found["latencies"]["50th"] / 1e6,
        p99_ms=found["latencies"]["99th"] / 1e6,
        cpu_us=used_s / max(1, found["requests"]) * 1e6,
        statuses=codes,
    )
