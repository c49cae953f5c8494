"""Runs every gate on a version, whatever comes of each."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from mesh_cli.failures import Failure
from mesh_cli.progress import Step
from mesh_cli.promotion import live, recorded, server
from mesh_cli.promotion.outcomes import Outcome, Verdict
from mesh_cli.promotion.policy import Golden, Policy
from mesh_cli.settings import Site
from meshkit.store import Version

_LIVE = ("golden set", "server")


@dataclass(frozen=True)
class Candidate:
    """A version that is to be promoted, and what it is held against."""

    version: Version
    production: Version | None
    """What is in production; None where nothing is, or nothing that can be read."""
    production_fault: str
    """Why what is in production can't be read; empty where it can."""
    policy: Policy
    golden: Golden


def run(site: Site, candidate: Candidate) -> list[Outcome]:
    """Every gate's outcome, in the order of their cost.

    A version whose files are not what they say is not opened by a server: the gates that need one
    fail unasked.
    """
    policy, version = candidate.policy, candidate.version
    with Step("look into the files", out=sys.stderr):
        files = recorded.files(version)
    outcomes = [
        files,
        recorded.metrics(policy, version, candidate.production, candidate.production_fault),
        recorded.parity(policy, version),
        recorded.batch_invariance(policy, version),
    ]
    if files.verdict is Verdict.FAILED:
        return [*outcomes, *_unasked("its files are not safe to open")]
    with Step(f"ask a server of {version.model}:{version.name}", out=sys.stderr) as step:
        return [*outcomes, *asyncio.run(_ask(site, candidate, step))]


def without_bounds(version: Version) -> list[Outcome]:
    """What can be said of a version where the bounds of its gates are not: in an image."""
    reason = "what they ask stands beside the service, in a checkout of the repository"
    return [recorded.files(version), Outcome("other gates", Verdict.FAILED, reason)]


async def _ask(site: Site, candidate: Candidate, step: Step) -> Sequence[Outcome]:
    version = candidate.version
    labels = [str(label) for label in version.record.get("labels", [])]
    texts = [case.text for case in candidate.golden.cases]
    step.note("starting it")
    try:
        async with server.serving(site, version.model, version.name) as client:
            step.note("the golden set")
            golden = await live.golden(client, version.name, labels, candidate.golden)
            step.note(f"{candidate.policy.load.calls} calls")
            load = await live.load(client, version.name, labels, texts, candidate.policy.load)
            return golden, load
    except (server.NotServing, Failure) as error:
        return _unasked(str(error))


def _unasked(reason: str) -> list[Outcome]:
    return [Outcome(gate, Verdict.FAILED, reason) for gate in _LIVE]
