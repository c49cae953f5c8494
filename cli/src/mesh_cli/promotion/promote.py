"""Runs the gates on a version and moves an alias to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mesh_cli import models_catalogue, models_mirror, rooms
from mesh_cli.author import author
from mesh_cli.failures import Failure
from mesh_cli.models_catalogue import Reference
from mesh_cli.promotion import gates, moves
from mesh_cli.promotion.outcomes import Outcome, failed
from mesh_cli.promotion.policy import load_golden, load_policy, load_triples
from mesh_cli.settings import Site
from meshkit import aliases, store
from meshkit.aliases import Alias
from meshkit.store import DamagedVersion, NoVersion

# Whose golden set has triples in place of labels.
_EMBEDDER: Final = "embedder"


@dataclass(frozen=True)
class Wish:
    """What a user asks of `mesh models promote`."""

    reference: Reference
    alias: str = aliases.PRODUCTION
    reason: str = ""
    force: str = ""
    """Why it shall be promoted though a gate may fail; empty where it shall not."""
    replaces: int | None = None
    """The number of the move that it shall follow; None for whichever is the last one now."""


@dataclass(frozen=True)
class Result:
    """What the gates said, and the move where there was one."""

    outcomes: Sequence[Outcome]
    move: Alias | None


def promote(site: Site, wish: Wish) -> Result:
    """Runs the gates and moves the alias where none stands in the way, or force was given.

    The move follows the one that the gates were run against. If somebody else moves the alias in
    the meantime, theirs stands and this one is not made.

    Raises:
        Failure: the alias was moved by somebody else, or names the version already.
        NoVersion, DamagedVersion: the version can't be opened.
    """
    model = wish.reference.model
    mirror = models_mirror.configured(site)
    now = moves.current(site, mirror, model, wish.alias, wish.replaces)
    if now and now.version == wish.reference.version:
        raise Failure(f"{model}@{wish.alias} names {wish.reference} already")
    outcomes = _outcomes(site, wish.reference)
    obstacles = failed(outcomes)
    if obstacles and not wish.force:
        return Result(outcomes, None)
    if mirror:
        models_mirror.push_version(site, mirror, wish.reference)
    move = aliases.following(
        now,
        model,
        wish.reference.version,
        name=wish.alias,
        reason=f"forced: {wish.force}" if obstacles else wish.reason or "passed every gate",
        author=author(),
        details={"gates": [outcome.to_json() for outcome in outcomes], "forced": bool(obstacles)},
    )
    moves.make(site, mirror, move)
    return Result(outcomes, move)


def _outcomes(site: Site, reference: Reference) -> list[Outcome]:
    if rooms.is_checkout():
        return gates.run(site, _candidate(site, reference))
    return gates.without_bounds(store.open_version(site.models, reference.model, reference.version))


def _candidate(site: Site, reference: Reference) -> gates.Candidate:
    model = reference.model
    version = store.open_version(site.models, model, reference.version)
    with models_catalogue.told():
        target = aliases.read(site.models, model)
    production, fault = None, ""
    if target is not None:
        try:
            production = store.read_version(site.models, model, target.version)
        except (NoVersion, DamagedVersion) as error:
            fault = f"what is in production can't be read ({error})"
    golden = load_triples(model) if model == _EMBEDDER else load_golden(model)
    return gates.Candidate(version, production, fault, load_policy(model), golden)
