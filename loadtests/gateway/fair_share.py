"""What a caller feels of another one that asks ten times what it may.

A Redis, a stand-in service and a real gateway on 127.0.0.1. A calm caller asks at a steady pace,
alone and beside a noisy one in a process of its own, in turns. Read the ratio of the two 99th
percentiles: it must not be over 2. Times are the machine's.

    PYTHONPATH=gateway/tests gateway/.venv/bin/python loadtests/gateway/fair_share.py \
        [--limit N] [--seconds S] [--rounds N]
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hostile_http import CLASSIFY, JSON
from hostile_wire import Attacker, request
from meshkit.rates import Rate
from processes import Mesh

TIMES_OVER: Final = 10
CALM_PER_S: Final = 100.0
CONNECTIONS: Final = 16
"""Of the noisy caller."""
MOST_RATIO: Final = 2.0
_BODY: Final = b'{"texts":["A quiet film that stays with you."]}'


@dataclass
class Found:
    """Seconds that the calm caller waited, alone and beside the noisy one, by round."""

    alone: list[list[float]] = field(default_factory=list)
    beside: list[list[float]] = field(default_factory=list)
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


async def make_noise(port: int, key: str, per_s: float) -> None:
    """Is the noisy caller until its standard input ends, and tells what statuses it got."""
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, end.set)
    say("begun")
    asked = await asyncio.gather(
        *(
            # One after the other, as requests of many users come, and not all at the same moment.
            ask_steadily(port, key, per_s / CONNECTIONS, end, number / per_s)
            for number in range(CONNECTIONS)
        )
    )
    say(json.dumps(Counter(status for answers in asked for status, _ in answers)))


@asynccontextmanager
async def noise(port: int, key: str, per_s: float, found: Found) -> AsyncIterator[None]:
    """A noisy caller, in a process of its own, inside."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, "--noisy", str(port), key, str(per_s)),
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


async def measure(mesh: Mesh, arguments: argparse.Namespace) -> Found:
    """Measures every round; the first one only warms up."""
    rate = Rate(arguments.limit, "s", arguments.limit)
    noisy = mesh.make_key(tenant="noisy", rate=rate).text
    calm = mesh.make_key(tenant="calm").text
    port, found = mesh.gateway.port, Found()
    for number in range(arguments.rounds + 1):
        alone = await ask_for(port, calm, CALM_PER_S, arguments.seconds)
        async with noise(port, noisy, TIMES_OVER * arguments.limit, found):
            beside = await ask_for(port, calm, CALM_PER_S, arguments.seconds)
        statuses = {status for status, _ in alone + beside}
        if statuses != {200}:
            raise RuntimeError(f"the calm caller got {statuses}; see the log of the gateway")
        if number:
            found.alone.append([each for _, each in alone])
            found.beside.append([each for _, each in beside])
            one, other = p99(found.alone[-1]), p99(found.beside[-1])
            say(
                f"round {number}: p99 alone {one * 1e3:6.2f} ms, beside {other * 1e3:6.2f} ms, "
                f"ratio {other / one:.2f}"
            )
    return found


def summary(found: Found, limit: int) -> int:
    """Prints what was found; 0 if the calm caller is left in peace."""
    ratios = [
        p99(beside) / p99(alone) for alone, beside in zip(found.alone, found.beside, strict=True)
    ]
    alone, beside = (
        [each for times in rounds for each in times] for rounds in (found.alone, found.beside)
    )
    ratio = p99(beside) / p99(alone)
    sent = found.noise.total() / found.noisy_s
    passed = found.noise[200] / found.noisy_s
    say(f"noisy caller: sent {sent:.0f}/s, of which {passed:.0f}/s passed; its limit is {limit}/s")
    for name, times in (("alone ", alone), ("beside", beside)):
        say(
            f"calm caller {name}: p50 {statistics.median(times) * 1e3:.2f} ms, "
            f"p99 {p99(times) * 1e3:.2f} ms, of {len(times)} requests"
        )
    say(
        f"ratio of p99: {ratio:.2f} of all, median of rounds {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}); at most {MOST_RATIO}"
    )
    return 0 if ratio <= MOST_RATIO else 1


def main() -> int:
    """Starts everything, measures, and ends it."""
    parser = argparse.ArgumentParser(description="Fairness between two callers.")
    parser.add_argument("--noisy", nargs=3, metavar=("PORT", "KEY", "RATE"), help="be noisy")
    parser.add_argument("--limit", type=int, default=50, help="of the noisy caller, a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each half of a round")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.noisy:
        port, key, per_s = arguments.noisy
        asyncio.run(make_noise(int(port), key, float(per_s)))
        return 0
    with tempfile.TemporaryDirectory() as folder, Mesh(Path(folder)) as mesh:
        return summary(asyncio.run(measure(mesh, arguments)), arguments.limit)


if __name__ == "__main__":
    sys.exit(main())
