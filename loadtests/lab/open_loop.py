"""Load that comes at its own pace, whether or not it is answered."""

import csv
import math
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.load import Load, Request
from lab.processes import Served, ended_cpu_s, tool

VEGETA: Final = "go install github.com/tsenart/vegeta/v12@latest"
OK: Final = 200
_CONNECTIONS: Final = 1024
_TIMEOUT_S: Final = 10


@dataclass(frozen=True)
class Answer:
    """An answer.

    Attributes:
        status: of HTTP; 0 where none came.
        waited_ms: from when the request was sent.
    """

    status: int
    waited_ms: float


@dataclass(frozen=True)
class Attack:
    """What came back.

    Attributes:
        answers: to each request.
        seconds: from the first request to the last answer.
        cpu_s: CPU seconds of the server.
        maker_s: CPU seconds of who made the load.
    """

    answers: Sequence[Answer]
    seconds: float
    cpu_s: float
    maker_s: float

    def waited_ms(self, *statuses: int) -> list[float]:
        """How long each answer of these statuses took."""
        return [each.waited_ms for each in self.answers if each.status in statuses]

    @property
    def load(self) -> Load:
        """The same as figures of the good answers."""
        good = self.waited_ms(OK)
        statuses: Counter[int | str] = Counter(
            each.status for each in self.answers if each.status != OK
        )
        return Load(
            rate=len(good) / self.seconds,
            p50_ms=percentile(good, 0.5),
            p99_ms=percentile(good, 0.99),
            cpu_us=self.cpu_s / max(1, len(self.answers)) * 1e6,
            maker_us=self.maker_s / max(1, len(self.answers)) * 1e6,
            statuses=statuses,
        )

    def __str__(self) -> str:
        return str(self.load)


def percentile(values: Sequence[float], share: float) -> float:
    """The least of the values that this share of them does not exceed; NaN of none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def attack(request: Request, server: Served, *, rate: float, seconds: float) -> Attack:
    """Asks so many times a second, with vegeta; connections are kept and never waited for."""
    with tempfile.TemporaryDirectory() as folder:
        body, found = Path(folder, "body"), Path(folder, "found")
        body.write_bytes(request.body)
        headers = [f"-header={name}: {value}" for name, value in request.headers.items()]
        vegeta = tool("vegeta", VEGETA)
        command = [vegeta, "attack", f"-rate={rate:.0f}", f"-duration={seconds:g}s", "-max-body=0"]
        command += [f"-connections={_CONNECTIONS}", f"-timeout={_TIMEOUT_S}s"]
        began_s, made_s = server.cpu_s, ended_cpu_s()
        subprocess.run(
            [*command, f"-body={body}", *headers, f"-output={found}"],
            input=f"POST {request.url}\n".encode(),
            check=True,
        )
        used_s, made_s = server.cpu_s - began_s, ended_cpu_s() - made_s
        ran = subprocess.run(
            [vegeta, "encode", "-to=csv", found], capture_output=True, text=True, check=True
        )
    rows = [
        (int(sent_ns), int(status), int(waited_ns))
        for sent_ns, status, waited_ns, *_ in csv.reader(ran.stdout.splitlines())
    ]
    began_ns = min(sent_ns for sent_ns, *_ in rows)
    ended_ns = max(sent_ns + waited_ns for sent_ns, _, waited_ns in rows)
    answers = [Answer(status, waited_ns / 1e6) for _, status, waited_ns in rows]
    return Attack(answers, (ended_ns - began_ns) / 1e9, used_s, made_s)
