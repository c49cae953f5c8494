"""Moves an alias: to a version that has passed the gates, or back to one that was there before."""

import getpass
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from mesh_cli import models_catalogue, models_gc, models_mirror
from mesh_cli.failures import Failure
from mesh_cli.models_catalogue import Reference
from mesh_cli.promotion import gates
from mesh_cli.promotion.outcomes import Outcome, failed
from mesh_cli.promotion.policy import load_golden, load_policy
from mesh_cli.settings import Site
from meshkit import aliases, store
from meshkit.aliases import Alias
from meshkit.mirror import Mirror
from meshkit.store import DamagedVersion, NoVersion


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
    current = _current(site, mirror, model, wish.alias, wish.replaces)
    if current and current.version == wish.reference.version:
        raise Failure(f"{model}@{wish.alias} names {wish.reference} already")
    outcomes = gates.run(site, _candidate(site, wish.reference))
    obstacles = failed(outcomes)
    if obstacles and not wish.force:
        return Result(outcomes, None)
    if mirror:
        models_mirror.push_version(site, mirror, wish.reference)
    move = aliases.following(
        current,
        model,
        wish.reference.version,
        name=wish.alias,
        reason=f"forced: {wish.force}" if obstacles else wish.reason or "passed every gate",
        author=author(),
        details={"gates": [outcome.to_json() for outcome in outcomes], "forced": bool(obstacles)},
    )
    return Result(outcomes, _make(site, mirror, move))


def roll_back(
    site: Site,
    model: str,
    alias: str,
    *,
    to: str | None,
    reason: str,
    replaces: int | None = None,
) -> Alias:
    """Points an alias at a version that it named before, by default the one before this one.

    It is a move like any other, with the next number: history is never rewritten. The gates are not
    run, since the version has served already; it is only verified.

    Raises:
        Failure: there is no such version, or the alias was moved by somebody else.
        NoVersion, DamagedVersion: the version can't be opened.
    """
    mirror = models_mirror.configured(site)
    current = _current(site, mirror, model, alias, replaces)
    moves = models_catalogue.history(site.models, model, alias)
    if current is None:
        raise Failure(f"{model}@{alias} was never set, so there is nothing to roll back")
    earlier = {move.version for move in moves} - {current.version}
    if to is None:
        target = models_gc.rollback_target(moves)
        if target is None:
            raise Failure(f"{model}@{alias} has named no other version than {current.version}")
        to = target.version
    elif to not in earlier:
        raise Failure(
            f"{model}@{alias} has not named {to} before; mesh models promote {model}:{to} runs the "
            "gates on it"
        )
    if mirror and not (site.models / "models" / model / to).is_dir():
        models_mirror.pull_version(site, mirror, Reference(model, to))
    store.open_version(site.models, model, to)
    move = aliases.following(
        current,
        model,
        to,
        name=alias,
        reason=f"rolled back: {reason}" if reason else f"rolled back from {current.version}",
        author=author(),
        details={"rolled_back_from": current.version},
    )
    return _make(site, mirror, move)


def author() -> str:
    """Who runs this command, and where."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def _current(
    site: Site, mirror: Mirror | None, model: str, alias: str, replaces: int | None
) -> Alias | None:
    """Where the alias points now, by the mirror's word where there is one."""
    if mirror:
        models_mirror.pull_alias(site, mirror, model, alias)
    with models_catalogue.told():
        current = aliases.read(site.models, model, alias)
    number = current.number if current else 0
    if replaces is not None and replaces != number:
        raise Failure(
            f"{model}@{alias} is at number {number} by now, and not at {replaces}: look where it "
            "points and decide anew"
        )
    return current


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
    return gates.Candidate(version, production, fault, load_policy(model), load_golden(model))


def _make(
    site: Site,
    mirror: Mirror | None,
    move: Alias,
) -> Alias:
    """Makes a move, in the mirror first: all machines meet there, so it decides who wins."""
    with models_catalogue.told(), models_catalogue.changing(site.models):
        store.read_version(site.models, move.model, move.version)  # nobody has removed it
        if mirror:
            mirror.create_alias(move)
        aliases.create(site.models, move)
    return move
