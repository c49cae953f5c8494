"""Load over gRPC: one call again and again, or calls that differ."""

import functools
import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lab import h2load
from lab.load import Load, percentile
from lab.processes import Served, ended_cpu_s, python, tool

GHZ: Final = "go install github.com/bojand/ghz/cmd/ghz@latest"
_CONNECTIONS: Final = 4
_HEADERS: Final = {"content-type": "application/grpc", "te": "trailers", "grpc-timeout": "10S"}
_OK: Final = "OK"
# Writes what ghz needs to know of a contract: its file and those that it imports.
_PROTOSET: Final = """
import importlib, sys
from google.protobuf import descriptor_pb2
found = descriptor_pb2.FileDescriptorSet()
def add(file):
    for each in file.dependencies:
        add(each)
    file.CopyToProto(found.file.add())
add(importlib.import_module(sys.argv[1]).DESCRIPTOR)
sys.stdout.buffer.write(found.SerializeToString())
"""


# Writes a message from its JSON: its module and name, and the JSON itself, are the arguments.
_MESSAGE: Final = """
import importlib, sys
from google.protobuf import json_format
message = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])()
sys.stdout.buffer.write(json_format.Parse(sys.argv[3], message).SerializeToString())
"""


@dataclass(frozen=True)
class Call:
    """A unary call that is made again and again."""

    target: str
    method: str
    request: Mapping[str, Any]
    metadata: Mapping[str, str] = field(default_factory=dict)


def repeated(call: Call, server: Served, *, in_flight: int, seconds: float) -> Load:
    """Makes so many calls at a time, with h2load, which costs a fifth of what ghz does.

    Calls that fail differ from others by what they answer: nothing.

    Args:
        call: what is called.
        server: what answers, always with as many bytes.
        in_flight: calls at a time; where they share connections, a multiple of these.
        seconds: how long.

    Raises:
        RuntimeError: the first call failed.
    """
    connections = min(_CONNECTIONS, in_flight)
    streams = in_flight // connections
    message = _message(call)
    asked = functools.partial(
        h2load.run,
        f"http://{call.target}/{call.method}",
        b"\0" + len(message).to_bytes(4, "big") + message,
        {**_HEADERS, **call.metadata},
        server,
    )
    first = asked("--no-tls-proto=h2c", "--requests=1")
    if not first.content_bytes:
        raise RuntimeError(f"{call.method} at {call.target} answers nothing")
    found = asked(
        *("--no-tls-proto=h2c", f"--clients={connections}"),
        *(f"--max-concurrent-streams={streams}", f"--duration={round(seconds * 1000)}ms"),
    )
    count = len(found.rows)
    good = found.content_bytes // first.content_bytes
    waited_ms = [row.waited_us / 1000 for row in found.rows]
    return Load(
        rate=good / found.seconds,
        p50_ms=percentile(waited_ms, 0.5),
        p99_ms=percentile(waited_ms, 0.99),
        cpu_us=found.cpu_s / max(1, count) * 1e6,
        maker_us=found.maker_s / max(1, count) * 1e6,
        statuses={0: count - good} if count > good else {},
    )


def closed(
    call: Call,
    server: Served,
    *,
    in_flight: int,
    seconds: float,
    requests: Sequence[Mapping[str, Any]] = (),
) -> Load:
    """Makes so many calls at a time, with ghz.

    Args:
        call: what is called.
        server: what answers.
        in_flight: calls at a time.
        seconds: how long.
        requests: sent in turn, in place of the call's own.
    """
    with tempfile.TemporaryDirectory() as folder:
        contract, data = Path(folder, "contract"), Path(folder, "data.json")
        contract.write_bytes(_protoset(call.method.split(".")[1]))
        data.write_text(json.dumps(list(requests) or call.request))
        began_s, made_s = server.cpu_s, ended_cpu_s()
        found = _run(call, contract, data, in_flight, seconds)
        used_s, made_s = server.cpu_s - began_s, ended_cpu_s() - made_s
    latencies = {each["percentage"]: each["latency"] for each in found["latencyDistribution"]}
    statuses = dict(found["statusCodeDistribution"])
    good = statuses.pop(_OK, 0)
    return Load(
        rate=good / (found["total"] / 1e9),
        p50_ms=latencies[50] / 1e6,
        p99_ms=latencies[99] / 1e6,
        cpu_us=used_s / max(1, found["count"]) * 1e6,
        maker_us=made_s / max(1, found["count"]) * 1e6,
        statuses=statuses,
    )


def _message(call: Call) -> bytes:
    """The request of a call, whose message is named after its method."""
    area, method = call.method.split(".")[1], call.method.split("/")[1]
    command: list[str | Path] = [
        *(python("gateway"), "-c", _MESSAGE, f"mesh.{area}.v1.{area}_pb2"),
        *(f"{method}Request", json.dumps(call.request)),
    ]
    return subprocess.run(command, capture_output=True, check=True).stdout


@functools.cache
def _protoset(area: str) -> bytes:
    module = f"mesh.{area}.v1.{area}_pb2"
    command: list[str | Path] = [python("gateway"), "-c", _PROTOSET, module]
    return subprocess.run(command, capture_output=True, check=True).stdout


def _run(call: Call, contract: Path, data: Path, in_flight: int, seconds: float) -> Any:
    command = [
        tool("ghz", GHZ),
        "--insecure",
        f"--protoset={contract}",
        f"--call={call.method}",
        f"--data-file={data}",
        f"--metadata={json.dumps(call.metadata)}",
        f"--concurrency={in_flight}",
        f"--connections={min(_CONNECTIONS, in_flight)}",
        f"--duration={seconds:g}s",
        "--duration-stop=wait",
        "--timeout=10s",
        "--format=json",
        call.target,
    ]
    ran = subprocess.run(command, capture_output=True, check=False)
    if ran.returncode:
        raise RuntimeError(ran.stderr.decode())
    return json.loads(ran.stdout)
