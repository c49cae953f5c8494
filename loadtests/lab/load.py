"""Load over HTTP, made by programs that cost little themselves."""

import json
import math
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lab.processes import Served, ended_cpu_s, tool

WRK: Final = "install the package wrk"
# Only where there are several bodies is a function called for each request.
_SCRIPT: Final = """
wrk.method = "POST"
for line in os.getenv("HEADERS"):gmatch("[^\\n]+") do
  local name, value = line:match("^([^:]+): (.*)$")
  wrk.headers[name] = value
end
local bodies = {}
for line in io.lines(os.getenv("BODIES")) do bodies[#bodies + 1] = line end
wrk.body = bodies[1]
if #bodies > 1 then
  local next_one = 0
  request = function()
    next_one = next_one % #bodies + 1
    return wrk.format(nil, nil, nil, bodies[next_one])
  end
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
        rate: good answers per second.
        p50_ms: their median latency.
        p99_ms: their 99th percentile.
        cpu_us: CPU of the server for one of them.
        maker_us: CPU of who makes the load for one of them.
        statuses: how often there was each status other than a good one; 0 for a broken connection.
    """

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    maker_us: float
    statuses: Mapping[int | str, int]

    def __str__(self) -> str:
        others = f", others {dict(self.statuses)}" if self.statuses else ""
        return (
            f"{self.rate:.0f}/s, p50 {self.p50_ms:.2f} ms, p99 {self.p99_ms:.2f} ms, "
            f"{self.cpu_us:.0f} us CPU (and {self.maker_us:.0f} of the load){others}"
        )


def percentile(values: Sequence[float], share: float) -> float:
    """The least of the values that this share of them does not exceed; NaN of none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def closed(
    request: Request,
    server: Served,
    *,
    connections: int,
    seconds: float,
    bodies: Sequence[bytes] = (),
) -> Load:
    """Asks over so many connections, each one request at a time, with wrk.

    Args:
        request: what is sent.
        server: what answers.
        connections: at once.
        seconds: how long, to the next whole second.
        bodies: sent in turn, each one line, in place of the request's own.
    """
    with tempfile.TemporaryDirectory() as folder:
        script, lines = Path(folder, "post.lua"), Path(folder, "bodies")
        script.write_text(_SCRIPT)
        lines.write_bytes(b"\n".join(bodies or [request.body]))
        headers = "\n".join(f"{name}: {value}" for name, value in request.headers.items())
        command = [
            tool("wrk", WRK),
            "-t1",
            f"-c{connections}",
            f"-d{max(1, round(seconds))}s",
            "-s",
        ]
        began_s, made_s = server.cpu_s, ended_cpu_s()
        ran = subprocess.run(
            [*command, script, request.url],
            env={"BODIES": str(lines), "HEADERS": headers},
            capture_output=True,
            text=True,
            check=True,
        )
        used_s, made_s = server.cpu_s - began_s, ended_cpu_s() - made_s
    found = json.loads(re.findall(r"^JSON (.*)$", ran.stdout, re.MULTILINE)[0])
    count = found["requests"]
    return Load(
        rate=(count - found["bad"]) / found["us"] * 1e6,
        p50_ms=found["p50_us"] / 1000,
        p99_ms=found["p99_us"] / 1000,
        cpu_us=used_s / max(1, count) * 1e6,
        maker_us=made_s / max(1, count) * 1e6,
        statuses={0: found["bad"]} if found["bad"] else {},
    )
