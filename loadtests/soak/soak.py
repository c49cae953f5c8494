"""Sends requests in bulk, checks every answer, and watches what the gateway holds on to.

In the end its memory must not have grown with the requests, and its descriptors and tasks must be
as many as before.
"""

import argparse
import asyncio
import itertools
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

# The gateway's tests have the processes and the requests, and meshkit's the ports.
sys.path.extend(
    str(Path(__file__).resolve().parents[2] / room / "tests") for room in ("gateway", "meshkit")
)

from trend import Slope, slope_of

import hostile_scene
from hostile_labels import labels
from watched_mesh import Held, Memory, WatchedGateway, WatchedMesh

CALLERS: Final = 8
"""At once, at each door."""
PARTS: Final = 100
"""Of the whole: each has its share of every door, and memory is looked at after it."""
SHOWN_FAILURES: Final = 10
MOST_GROWTH_MIB: Final = 0.5
"""Most MiB per 10,000 requests that memory may surely grow by: 50 bytes a request, less than any
object that one could leave behind. Fewer requests than the default do not show it: the buffers of
large bodies come and go."""


class Case(Protocol):
    """A request, and what its answer must be."""

    @property
    def name(self) -> str:
        """What it is."""

    def check(self, scene: hostile_scene.Scene, answer: Any, /) -> None:
        """Checks the answer."""


C = TypeVar("C")


@dataclass(frozen=True)
class Door:
    """A way into the gateway: its cases, and who sends them."""

    name: str
    cases: Sequence[Case]
    attacker: Callable[[WatchedGateway], AbstractAsyncContextManager[Any]]


@dataclass
class Tally:
    """What has happened so far."""

    count: int
    gateway: WatchedGateway
    quiet: bool = False
    began_s: float = field(default_factory=time.perf_counter)
    sent: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    samples: list[tuple[int, Memory]] = field(default_factory=list)

    def add(self, door: str, failure: str | None) -> None:
        """One request was answered; what is wrong with the answer, if anything."""
        self.sent[door] += 1
        if failure:
            self.failures.append(f"{door}: {failure}")

    def sample(self) -> None:
        """Looks at the memory of the gateway, and tells of it now and then."""
        done, memory = self.sent.total(), self.gateway.memory()
        self.samples.append((done, memory))
        if not self.quiet and len(self.samples) % (PARTS // 20) == 0:
            rate = done / (time.perf_counter() - self.began_s)
            say(
                f"{done:8,} of {self.count:,}  {rate:5.0f}/s  {memory.rss_mib:6.1f} MiB  "
                f"{len(self.failures)} wrong"
            )

    def growth(self) -> tuple[Slope, Slope]:
        """MiB and blocks of Python per 10,000 requests, after the first fifth of them."""
        steady = [(done / 10_000, each) for done, each in self.samples if done >= self.count / 5]
        xs = [x for x, _ in steady]
        return (
            slope_of(xs, [each.rss_mib for _, each in steady]),
            slope_of(xs, [each.blocks for _, each in steady]),
        )


def say(line: str) -> None:
    """Prints a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def attack(
    mesh: WatchedMesh, scene: hostile_scene.Scene, tally: Tally, doors: Sequence[Door]
) -> None:
    """Sends as many requests as the tally wants, part by part."""
    sequences = [shuffled(door.cases) for door in doors]
    ends = [tally.count * part // PARTS for part in range(PARTS + 1)]
    for begin, end in itertools.pairwise(ends):
        async with asyncio.TaskGroup() as group:
            parts = zip(doors, sequences, shares(end - begin, doors), strict=True)
            for door, sequence, share in parts:
                cases = itertools.islice(sequence, share)
                for _ in range(min(CALLERS, share)):
                    group.create_task(attack_door(mesh, scene, tally, door, cases))
        await asyncio.to_thread(tally.sample)


def shares(count: int, doors: Sequence[Door]) -> list[int]:
    """How many of so many requests go to each door: as many as its cases are among all."""
    cases = list(itertools.accumulate(len(door.cases) for door in doors))
    ends = [count * each // cases[-1] for each in cases]
    return [end - begin for begin, end in itertools.pairwise([0, *ends])]


def shuffled(cases: Sequence[C]) -> Iterator[C]:
    """All of them, again and again, each time in another order."""
    order = random.Random(len(cases))  # noqa: S311  # an order is no secret
    while True:
        yield from order.sample(cases, len(cases))


async def attack_door(
    mesh: WatchedMesh, scene: hostile_scene.Scene, tally: Tally, door: Door, cases: Iterator[Case]
) -> None:
    """Sends one request after the other, until none is left."""
    async with door.attacker(mesh.gateway) as attacker:
        for case in cases:
            try:
                case.check(scene, await attacker.ask(case, scene))
            except (AssertionError, OSError, EOFError, ValueError, KeyError) as error:
                tally.add(door.name, f"{case.name}: {type(error).__name__} {error}"[:500])
                await attacker.leave()
            else:
                tally.add(door.name, None)


def soak(mesh: WatchedMesh, count: int, doors: Sequence[Door]) -> int:
    """Sends so many requests to a mesh; the exit status."""
    scene = hostile_scene.scene_of(mesh, labels(mesh))
    every = sum(len(door.cases) for door in doors)
    say(f"{every} cases; warming up")
    warm = Tally(every, mesh.gateway, quiet=True)
    asyncio.run(attack(mesh, scene, warm, doors))
    before = mesh.held_at_rest()
    tally = Tally(count, mesh.gateway)
    asyncio.run(attack(mesh, scene, tally, doors))
    after = mesh.held_in_the_end(before)
    tally.failures += warm.failures
    return summary(tally, before, after, faults_in(mesh))


def faults_in(mesh: WatchedMesh) -> list[str]:
    """The lines of the logs that have a stack trace."""
    lines = (*mesh.gateway.log.split("\n"), *mesh.service.log.split("\n"))
    return [line for line in lines if "Traceback" in line]


def summary(tally: Tally, before: Held, after: Held, faults: Sequence[str]) -> int:
    """Prints what was found; 0 if all of it is well."""
    growth, blocks = tally.growth()
    elapsed_s = time.perf_counter() - tally.began_s
    first, last = tally.samples[0][1], tally.samples[-1][1]
    flat = growth.low <= 0 or growth.value <= MOST_GROWTH_MIB
    for failure in tally.failures[:SHOWN_FAILURES]:
        say(f"wrong: {failure}")
    for fault in faults[:1]:
        say(f"in a log: {fault}")
    doors = ", ".join(f"{name} {sent:,}" for name, sent in tally.sent.items())
    say(f"requests      {tally.sent.total():,} in {elapsed_s:.0f} s: {doors}")
    say(f"wrong answers {len(tally.failures)}")
    say(f"stack traces  {len(faults)} in the logs")
    say(
        f"memory        {first.rss_mib:.1f} -> {last.rss_mib:.1f} MiB; {growth.value:+.3f} MiB per "
        f"10,000 requests after the first fifth (95 %: {growth.low:+.3f} to {growth.high:+.3f}, "
        f"at most {MOST_GROWTH_MIB})"
    )
    say(
        f"blocks        {first.blocks:,} -> {last.blocks:,}; {blocks.value:+.0f} per 10,000 "
        f"requests (95 %: {blocks.low:+.0f} to {blocks.high:+.0f})"
    )
    say(f"descriptors   {before.descriptors} -> {after.descriptors} at rest")
    say(f"tasks         {before.tasks} -> {after.tasks} at rest")
    well = not tally.failures and not faults and flat and after.within(before)
    say("all is well" if well else "NOT well")
    return 0 if well else 1


def run(doors: Sequence[Door], usual_count: int) -> int:
    """Starts everything, sends, and ends it; the exit status."""
    parser = argparse.ArgumentParser(description="Requests in bulk, and what the gateway keeps.")
    help_text = f"how many (default: {usual_count})"
    parser.add_argument("--count", type=int, default=usual_count, help=help_text)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with WatchedMesh(folder, **hostile_scene.settings(folder)) as mesh:
            return soak(mesh, count, doors)
