"""What may answer for a model's name: aliases, fallbacks, splits and rules."""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from mesh_gateway.openai import routing_file
from mesh_gateway.openai.catalog import Catalog
from mesh_gateway.openai.routing_file import OWN, Alias, RoutingFile, Rule
from meshkit.client import Client
from meshkit.errors import StartError


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that may answer.

    Attributes:
        client: calls the deployment.
        model: as the deployment calls it.
    """

    client: Client
    model: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What rules look at.

    Attributes:
        key_id: who asks.
        tools: whether tools are offered.
        prompt_characters: counts the prompt, where a rule needs that.
    """

    key_id: str
    tools: bool
    prompt_characters: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Deployments:
    """The deployments of the llm.

    Attributes:
        file: what answers for which name.
        clients: by the name of each deployment; the gateway's own among them.
    """

    file: RoutingFile
    clients: Mapping[str, Client]


class Router:
    """Says what may answer.

    Args:
        deployments: what there is, and the file of aliases.
        catalog: what the deployments serve.
    """

    def __init__(self, deployments: Deployments, catalog: Catalog) -> None:
        self._file = deployments.file
        self._clients = deployments.clients
        self._catalog = catalog

    @property
    def aliases(self) -> Iterator[tuple[str, str]]:
        """What callers may name beside what is served under its own name, with the service."""
        yield from ((name, OWN) for name in self._file.models)
        yield from ((name, "embedder") for name in self._file.embeddings)

    def embedding_model(self, name: str) -> str:
        """What the embedder calls the model that a caller names."""
        return self._file.embeddings.get(name, name)

    async def candidates(self, model: str, facts: Facts) -> Sequence[Candidate]:
        """What may answer, the first choice first; at least one."""
        if model in self._file.models:
            return self._of_reference(model, facts)
        deployment = OWN if len(self._clients) == 1 else await self._catalog.deployment_of(model)
        return [Candidate(self._clients[deployment or OWN], model)]

    def _of_reference(self, reference: str, facts: Facts) -> list[Candidate]:
        alias = self._file.models.get(reference)
        if alias is None:
            named = self._file.split(reference)
            assert named is not None  # noqa: S101  # the file was checked when it was read
            return [Candidate(self._clients[named[0]], named[1])]
        found: dict[tuple[str, str], Candidate] = {}
        for each in _chosen(alias, reference, facts):
            for candidate in self._of_reference(each, facts):
                found.setdefault((candidate.client.name, candidate.model), candidate)
        return list(found.values())


def _chosen(alias: Alias, name: str, facts: Facts) -> Sequence[str]:
    if alias.split:
        return [_by_weight(alias.split, f"{name}:{facts.key_id}")]
    if alias.otherwise is not None:
        held = (rule.to for rule in alias.rules if _holds(rule, facts))
        return [next(held, alias.otherwise)]
    return alias.to


def _by_weight(weights: Mapping[str, float], key: str) -> str:
    """One of them, always the same for a key, in the proportion of their weights over all keys."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    place = int.from_bytes(digest) / 2**64 * sum(weights.values())
    for name, weight in weights.items():
        place -= weight
        if place < 0:
            return name
    return max(weights, key=lambda each: weights[each])  # what rounding left over


def _holds(rule: Rule, facts: Facts) -> bool:
    if rule.tools is not None and rule.tools != facts.tools:
        return False
    over = rule.prompt_characters_over
    return over is None or facts.prompt_characters() > over


@asynccontextmanager
async def connected(
    path: Path | None, own: Client, connect: Callable[[str, str], Client]
) -> AsyncIterator[Deployments]:
    """The deployments, connected.

    Args:
        path: of the file that names those beside the gateway's own; None where there are none.
        own: the client of that.
        connect: makes a client of a name and a target.

    Raises:
        StartError: the file, or a target in it, can't be read.
    """
    file = routing_file.load(path)
    clients = {OWN: own}
    async with AsyncExitStack() as stack:
        for name, deployment in file.deployments.items():
            try:
                client = connect(f"{OWN}/{name}", deployment.target)
            except StartError as error:
                raise StartError(f"deployments.{name}.target: {error}") from None
            clients[name] = await stack.enter_async_context(client)
        yield Deployments(file, clients)
