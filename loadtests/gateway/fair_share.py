"""What a caller feels of another one that asks ten times what it may.

Redis, a stand-in service and a real gateway on 127.0.0.1, twice. A calm caller asks the first
gateway at a steady pace: alone; beside a noisy caller that asks the second one, which costs the
machine as much and the calm caller's gateway nothing; and beside one that asks the same gateway.
The noisy caller is a process of its own, and its requests are spread evenly or sixteen come at the
same moment. Read the ratios of the 99th percentiles. The one between the two gateways says what the
gateway does, and must not be over 2; the one to alone has the price of a shared machine in it.

    gateway/.venv/bin/python loadtests/gateway/fair_share.py [--limit N] [--seconds S] [--rounds N]
"""

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

# The gateway's tests have the processes and the requests, and meshkit's the ports.
sys.path.extend(
    str(Path(__file__).resolve().parents[2] / room / "tests") for room in ("gateway", "meshkit")
)

from hostile_http import CLASSIFY, JSON
from hostile_wire import Attacker, request
from meshkit.rates import Rate
from processes import Mesh

TIMES_OVER: Final = 10
CALM_PER_S: Final = 100.0
CONNECTIONS: Final = 16
"""Of the noisy caller."""
MOST_RATIO: Final = 2.0
SPREAD: Final = "spread"
AT_ONCE: Final = "at once"
NOISES: Final = (SPREAD, AT_ONCE)
"""How the noisy caller's connections send: one after the other, or all at the same moment."""
ELSEWHERE: Final = "elsewhere"
BESIDE: Final = "beside"
ALONE: Final = "alone"
_BODY: Final = b'{"texts":["A quiet film that stays with you."]}'


@dataclass
class Found:
    """Seconds that the calm caller waited, by what was beside it and by round."""

    waited: dict[str, list[list[float]]] = field(default_factory=lambda: defaultdict(list))
    noise: Counter[int] = field(default_factory=Counter)
    noisy_s: float = 0.0


def p99(times_s: Sequence[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(times_s, n=100)[98]


def say(line: str) -> None:
    """Prints a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def ask_steadily(
    port: int, key: str, per_s: float, until: asyncio.Event, after_s: float = 0.0
) -> list[tuple[int, float]]:
    """Asks over one connection at that pace; the status and the seconds of each answer.

    One that comes late delays the next ones no more than it must.
    """
    content = request(CLASSIFY, _BODY, [("x-api-key", key), JSON])
    answers: list[tuple[int, float]] = []
    await asyncio.sleep(after_s)
    due_s = time.perf_counter()
    async with Attacker(port) as caller:
        while not until.is_set():
            began_s = time.perf_counter()
            answer = await caller.send(content)
            ended_s = time.perf_counter()
            answers.append((answer.status, ended_s - began_s))
            due_s = max(due_s + 1 / per_s, ended_s - 1 / per_s)
            await asyncio.sleep(max(0.0, due_s - ended_s))
    return answers


async def ask_for(port: int, key: str, per_s: float, seconds: float) -> list[tuple[int, float]]:
    """The same for that many seconds."""
    end = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, end.set)
    return await ask_steadily(port, key, per_s, end)


async def make_noise(port: int, key: str, per_s: float, how: str) -> None:
    """Is the noisy caller until its standard input ends, and tells what statuses it got."""
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, end.set)
    say("begun")
    asked = await asyncio.gather(
        *(
            ask_steadily(
                port, key, per_s / CONNECTIONS, end, number / per_s if how == SPREAD else 0.0
            )
            for number in range(CONNECTIONS)
        )
    )
    say(json.dumps(Counter(status for answers in asked for status, _ in answers)))


@asynccontextmanager
async def noise(port: int, key: str, per_s: float, how: str, found: Found) -> AsyncIterator[None]:
    """A noisy caller, in a process of its own, inside."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, "--noisy", str(port), key, str(per_s), how),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        if not process.stdin or not process.stdout:
            raise RuntimeError("the noisy caller has no pipes")
        await process.stdout.readline()
        began_s = time.perf_counter()
        yield
        process.stdin.close()
        told = json.loads(await process.stdout.readline())
        found.noisy_s += time.perf_counter() - began_s
        found.noise.update({int(status): count for status, count in told.items()})
        await process.wait()
    finally:
        with suppress(ProcessLookupError):
            process.kill()


async def measure(mesh: Mesh, elsewhere: Mesh, arguments: argparse.Namespace) -> Found:
    """Measures every round; the first one only warms up."""
    rate = Rate(arguments.limit, "s", arguments.limit)
    calm = mesh.make_key(tenant="calm").text
    places = {
        place: (each.gateway.port, each.make_key(tenant="noisy", rate=rate).text)
        for place, each in ((ELSEWHERE, elsewhere), (BESIDE, mesh))
    }
    found = Found()
    for number in range(arguments.rounds + 1):
        answers = {ALONE: await ask_for(mesh.gateway.port, calm, CALM_PER_S, arguments.seconds)}
        for how, (place, (port, key)) in itertools.product(NOISES, places.items()):
            async with noise(port, key, TIMES_OVER * arguments.limit, how, found):
                answers[named(place, how)] = await ask_for(
                    mesh.gateway.port, calm, CALM_PER_S, arguments.seconds
                )
        statuses = {status for each in answers.values() for status, _ in each}
        if statuses != {200}:
            raise RuntimeError(f"the calm caller got {statuses}; see the log of the gateway")
        if number:
            for name, each in answers.items():
                found.waited[name].append([waited_s for _, waited_s in each])
            p99s = (f"{name} {p99(found.waited[name][-1]) * 1e3:.2f} ms" for name in answers)
            say(f"round {number}: p99 {', '.join(p99s)}")
    return found


def named(place: str, how: str) -> str:
    """What was beside the calm caller, in words."""
    return f"noise {place} {how}"


def summary(found: Found, limit: int) -> int:
    """Prints what was found; 0 if the calm caller is left in peace."""
    sent = found.noise.total() / found.noisy_s
    passed = found.noise[200] / found.noisy_s
    say(f"noisy caller: sent {sent:.0f}/s, of which {passed:.0f}/s passed; its limit is {limit}/s")
    for name, rounds in found.waited.items():
        times = [each for waited in rounds for each in waited]
        say(
            f"calm caller, {name}: p50 {statistics.median(times) * 1e3:.2f} ms, "
            f"p99 {p99(times) * 1e3:.2f} ms, of {len(times)} requests"
        )
    worst = 0.0
    for how in NOISES:
        ours = found.waited[named(BESIDE, how)]
        median, text = ratio(ours, found.waited[named(ELSEWHERE, how)])
        _, to_alone = ratio(ours, found.waited[ALONE])
        worst = max(worst, median)
        say(f"p99 beside noise {how}: {text} of that with the noise elsewhere, {to_alone} of alone")
    well = worst <= MOST_RATIO
    say(f"at most {MOST_RATIO} of that with the noise elsewhere: {'well' if well else 'NOT well'}")
    return 0 if well else 1


def ratio(ours: Sequence[Sequence[float]], others: Sequence[Sequence[float]]) -> tuple[float, str]:
    """The median ratio of two 99th percentiles over the rounds, and the same with its spread."""
    found = [p99(one) / p99(other) for one, other in zip(ours, others, strict=True)]
    median = statistics.median(found)
    return median, f"{median:.2f} ({min(found):.2f} to {max(found):.2f})"


def main() -> int:
    """Starts everything, measures, and ends it."""
    parser = argparse.ArgumentParser(description="Fairness between two callers.")
    parser.add_argument("--noisy", nargs=4, metavar=("PORT", "KEY", "RATE", "HOW"), help="be noisy")
    parser.add_argument("--limit", type=int, default=50, help="of the noisy caller, a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each part of a round")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.noisy:
        port, key, per_s, how = arguments.noisy
        asyncio.run(make_noise(int(port), key, float(per_s), how))
        return 0
    with (
        tempfile.TemporaryDirectory() as one,
        tempfile.TemporaryDirectory() as other,
        Mesh(Path(one)) as mesh,
        Mesh(Path(other)) as elsewhere,
    ):
        return summary(asyncio.run(measure(mesh, elsewhere, arguments)), arguments.limit)


if __name__ == "__main__":
    sys.exit(main())
