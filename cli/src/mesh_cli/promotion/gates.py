"""Runs every gate on a version, whatever comes of each."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from mesh_cli.failures import Failure
from mesh_cli.progress import Step
from mesh_cli.promotion import answers, embeddings, live, recorded, server
from mesh_cli.promotion.outcomes import Outcome, Verdict
from mesh_cli.promotion.policy import Golden, Policy, Triples
from mesh_cli.settings import Site
from meshkit.client import Client
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
    golden: Golden | Triples


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
    texts = [case.text for case in candidate.golden.cases]
    step.note("starting it")
    try:
        async with server.serving(site, version.model, version.name) as client:
            step.note("the golden set")
            golden, ask = await _golden(client, candidate)
            step.note(f"{candidate.policy.load.calls} calls")
            return golden, await live.load(ask, texts, candidate.policy.load)
    except (server.NotServing, Failure) as error:
        return _unasked(str(error))


async def _golden(client: Client, candidate: Candidate) -> tuple[Outcome, live.Ask]:
    """What came of the golden set, and how further calls are made."""
    version, golden = candidate.version, candidate.golden
    if isinstance(golden, Triples):
        dimensions = int(version.record["dimensions"])

        async def embed(texts: Sequence[str]) -> list[str]:
            response = await embeddings.embed(client, texts)
            return embeddings.faults(response, texts, version.name, dimensions)

        return await embeddings.golden(client, version.name, dimensions, golden), embed
    labels = [str(label) for label in version.record.get("labels", [])]

    async def classify(texts: Sequence[str]) -> list[str]:
        response = await answers.classify(client, texts)
        return answers.faults(response, texts, version.name, labels)

    return await live.golden(client, version.name, labels, golden), classify


def _unasked(reason: str) -> list[Outcome]:
    return [Outcome(gate, Verdict.FAILED, reason) for gate in _LIVE]
