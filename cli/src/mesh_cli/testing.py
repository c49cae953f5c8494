"""Runs the tests of every room, each in its own environment."""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mesh_cli import environments
from mesh_cli.failures import Failure
from mesh_cli.rooms import ENGINE, MISLEADING, TRAINING, Environment

# What a room marks that needs more than a plain machine: it is left out of `make test`.
FULL = "full"
_COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped|deselected|xfailed|xpassed|warnings?)")
_NOTHING_COLLECTED = 5
# A room that has it waits more than it computes. What is `full` kills, fills and measures, alone.
_XDIST = "pytest-xdist"
_ABREAST = ("--numprocesses=2", "--dist=loadfile")


@dataclass(frozen=True)
class Outcome:
    """How the tests of one environment went."""

    name: str
    status: int
    counts: Counter[str]
    seconds: float


def run(chosen: Sequence[Environment], *, full: bool, options: Sequence[str] = ()) -> None:
    """Runs the tests of these environments to their end and sums them up.

    Args:
        chosen: where tests run.
        full: the tests marked `full` only, or all others.
        options: for pytest.

    Raises:
        Failure: a test failed, or an environment could not be installed.
    """
    able = [each for each in chosen if has_tests(each) and _runs(each, full=full)]
    environments.sync_all(able, dev=True)
    outcomes = [_run(environment, full=full, options=options) for environment in able]
    say("")
    for outcome in outcomes:
        say(f"{outcome.name:32} {_sentence(outcome.counts)} in {outcome.seconds:.1f}s")
    total = sum((outcome.counts for outcome in outcomes), Counter[str]())
    seconds = sum(outcome.seconds for outcome in outcomes)
    say(f" {_sentence(total)} in {seconds:.2f}s ".center(100, "="))
    failed = [outcome.name for outcome in outcomes if outcome.status]
    if failed:
        raise Failure(f"tests failed in {', '.join(failed)}")


def has_tests(environment: Environment) -> bool:
    """Whether tests run there; training and the engine have their own in `tests/<extra>`."""
    room = environment.room
    if environment.extra:
        return (room.path / "tests" / environment.extra).is_dir()
    return not room.builds or (room.path / "tests").is_dir()


def command(environment: Environment, *, full: bool, options: Sequence[str]) -> list[str]:
    """The command that runs the tests of an environment, in the folder of its room."""
    if environment.extra:
        paths = [f"tests/{environment.extra}"]
    else:
        apart = [extra for extra in (TRAINING, ENGINE) if extra in environment.room.extras]
        paths = [f"--ignore=tests/{extra}" for extra in apart]
    marked = ["-m", FULL if full else f"not {FULL}"] if _has_full(environment) else []
    colour = f"--color={'yes' if sys.stdout.isatty() else 'no'}"
    abreast = _ABREAST if _XDIST in environment.room.requires(dev=True) and not full else ()
    return [str(environment.python), "-m", "pytest", colour, *abreast, *marked, *paths, *options]


def say(line: str) -> None:
    """Writes a line at once, in order with what the tests write."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _runs(environment: Environment, *, full: bool) -> bool:
    """Whether there is anything to run; an engine takes gigabytes, so its tests are all `full`."""
    if full:
        return _has_full(environment)
    return environment.extra != ENGINE and not environment.room.all_full


def _has_full(environment: Environment) -> bool:
    markers = environment.room.pytest_options.get("markers", [])
    return any(str(marker).partition(":")[0].strip() == FULL for marker in markers)


def _run(environment: Environment, *, full: bool, options: Sequence[str]) -> Outcome:
    say("\n" + f" {environment.name} ".center(100, "#"))
    began = time.monotonic()
    # A mesh that the caller's shell is set up for is none of the tests' business.
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MESH_") and name not in MISLEADING
    }
    tail = b""
    with subprocess.Popen(
        command(environment, full=full, options=options),
        cwd=environment.room.path,
        env=kept,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        while process.stdout and (chunk := os.read(process.stdout.fileno(), 65536)):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            tail = (tail + chunk)[-4096:]
    status = 0 if full and process.returncode == _NOTHING_COLLECTED else process.returncode
    return Outcome(environment.name, status, _counts(tail), time.monotonic() - began)


def _counts(tail: bytes) -> Counter[str]:
    """The counts in pytest's closing line."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", tail.decode(errors="replace"))
    lines = [line for line in text.splitlines() if _COUNT.search(line)]
    found = _COUNT.findall(lines[-1]) if lines else []
    return Counter({word.removesuffix("s"): int(number) for number, word in found})


def _sentence(counts: Counter[str]) -> str:
    """Counts as pytest writes them."""
    order = ("failed", "passed", "skipped", "deselected", "xfailed", "xpassed", "warning", "error")
    return ", ".join(f"{counts[word]} {word}" for word in order if counts[word]) or "no tests ran"
