"""The gates that ask a real server: the golden set, and a short run of many callers."""

import asyncio
import math
import random
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from mesh_cli.promotion import answers
from mesh_cli.promotion.outcomes import Outcome, judged
from mesh_cli.promotion.policy import Case, Golden, Load
from meshkit.client import Client
from meshkit.errors import MeshError

Ask: TypeAlias = Callable[[Sequence[str]], Awaitable[list[str]]]
"""Makes a call about texts, and says what no sound answer would have said."""

_SEED = 20
# Enough to see what goes wrong without a page for each call.
_FAULTS_SHOWN = 3
# Texts of one call may be several cases in one, up to what no model reads to its end.
_LONGEST = 40


async def golden(client: Client, version: str, labels: Sequence[str], wanted: Golden) -> Outcome:
    """Every named case gets the answer that nobody doubts."""
    failed = {}
    for case in wanted.cases:
        if faults := await _case_faults(client, version, labels, case):
            failed[case.name] = "; ".join(faults)
    passed = len(wanted.cases) - len(failed)
    return judged(
        "golden set",
        [f"{name!r}: {fault}" for name, fault in failed.items()],
        f"{passed} of {len(wanted.cases)} cases",
        {"cases": len(wanted.cases), "passed": passed, "failed": failed},
    )


async def load(ask: Ask, texts: Sequence[str], wanted: Load) -> Outcome:
    """Many concurrent calls: no error, no unsound answer, no other version.

    Args:
        ask: makes a call.
        texts: what is asked about.
        wanted: how many calls.
    """
    run = _Run(ask)
    calls = _calls(texts, wanted)
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(wanted.callers):
            group.create_task(run.work(calls))
    seconds = time.perf_counter() - began
    # Of a single answer there are no quantiles.
    taken = run.latencies_s if len(run.latencies_s) > 1 else [math.nan, math.nan]
    percentiles = statistics.quantiles(taken, n=100, method="inclusive")
    figures = {
        "calls": wanted.calls,
        "callers": wanted.callers,
        "texts": run.texts,
        "faults": run.faults.total(),
        "seconds": round(seconds, 2),
        "p50_ms": _ms(percentiles[49]),
        "p99_ms": _ms(percentiles[98]),
    }
    shown = [f"{fault} ({count} times)" for fault, count in run.faults.most_common(_FAULTS_SHOWN)]
    if run.faults.total():
        shown.insert(0, f"{run.faults.total()} faults in {wanted.calls} calls")
    said = (
        f"{wanted.calls} calls by {wanted.callers} callers with {run.texts} texts, no fault; "
        f"p50 {figures['p50_ms']} ms, p99 {figures['p99_ms']} ms"
    )
    return judged("server", shown, said, figures)


def _ms(seconds: float) -> float | None:
    return None if math.isnan(seconds) else round(seconds * 1000, 1)


@dataclass
class _Run:
    """The callers' common book."""

    ask: Ask
    texts: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)

    async def work(self, calls: Iterator[list[str]]) -> None:
        """Makes calls until there are none left."""
        for texts in calls:
            began = time.perf_counter()
            try:
                faults = await self.ask(texts)
            except MeshError as error:
                self.faults[f"{error.reason}: {error.message}"] += 1
                continue
            self.latencies_s.append(time.perf_counter() - began)
            self.texts += len(texts)
            self.faults.update(faults)


def _calls(texts: Sequence[str], wanted: Load) -> Iterator[list[str]]:
    """The same calls each time: of one to some texts, a few words to some pages long."""
    chance = random.Random(_SEED)  # noqa: S311  # the same choice each time, and no secret
    for _ in range(wanted.calls):
        count = chance.randint(1, wanted.texts_per_call)
        yield [
            " ".join(chance.choices(texts, k=_LONGEST if chance.random() < 0.02 else 1))
            for _ in range(count)
        ]


async def _case_faults(
    client: Client, version: str, labels: Sequence[str], case: Case
) -> list[str]:
    try:
        response = await answers.classify(client, [case.text])
    except MeshError as error:
        return [f"{error.reason}: {error.message}"]
    if faults := answers.faults(response, [case.text], version, labels):
        return faults
    answer = response.results[0].classification
    given = answers.probabilities(answer)
    shown = ", ".join(f"{label} {value:.2f}" for label, value in given.items())
    wrong = (
        [f"is {answer.label} instead of {case.label}"]
        if case.label not in (None, answer.label)
        else []
    )
    wrong += [
        f"{label} below {bound}"
        for label, bound in case.at_least.items()
        if not given.get(label, 0) >= bound
    ]
    wrong += [
        f"{label} above {bound}"
        for label, bound in case.at_most.items()
        if not given.get(label, 1) <= bound
    ]
    return [f"{', '.join(wrong)} ({shown})"] if wrong else []
