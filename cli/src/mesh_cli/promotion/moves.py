"""Moves an alias: conditionally, in the mirror too, and back to a version that was there before."""

from mesh_cli import models_catalogue, models_gc, models_mirror
from mesh_cli.author import author
from mesh_cli.failures import Failure
from mesh_cli.models_catalogue import Reference
from mesh_cli.settings import Site
from meshkit import aliases, staging, store
from meshkit.aliases import Alias
from meshkit.mirror import Mirror


def current(
    site: Site, mirror: Mirror | None, model: str, alias: str, replaces: int | None
) -> Alias | None:
    """Where an alias points now, by the mirror's word where there is one.

    Args:
        site: whose store it is.
        mirror: the store's mirror.
        model: name of the model.
        alias: name of the alias.
        replaces: the number of its history at which the caller saw it, 0 for none; None to take it
            wherever it is.

    Raises:
        Failure: it was moved since.
    """
    if mirror:
        models_mirror.pull_alias(site, mirror, model, alias)
    with models_catalogue.told():
        now = aliases.read(site.models, model, alias)
    if mirror and now and now.number not in mirror.numbers(model, alias):
        models_mirror.push_alias(site, mirror, model, alias)
    number = now.number if now else 0
    if replaces is not None and replaces != number:
        raise Failure(
            f"{model}@{alias} is at number {number} by now, and not at {replaces}: look where it "
            "points and decide anew"
        )
    return now


def make(site: Site, mirror: Mirror | None, move: Alias) -> None:
    """Makes a move, in the mirror first: all machines meet there, so it decides who wins.

    Raises:
        Failure: somebody else has moved the alias since `current` told where it points.
        NoVersion: the version is gone.
    """
    with models_catalogue.told(), staging.changing(site.models):
        store.read_version(site.models, move.model, move.version)  # nobody has removed it
        if mirror:
            mirror.create_alias(move)
        aliases.create(site.models, move)


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
    now = current(site, mirror, model, alias, replaces)
    if now is None:
        raise Failure(f"{model}@{alias} was never set, so there is nothing to roll back")
    version = to or _before(site, now)
    if version not in {
        move.version for move in models_catalogue.history(site.models, model, alias)
    }:
        raise Failure(
            f"{model}@{alias} has not named {version} before; mesh models promote "
            f"{model}:{version} runs the gates on it"
        )
    if version == now.version:
        raise Failure(f"{model}@{alias} names {version} already")
    if mirror and not (site.models / "models" / model / version).is_dir():
        models_mirror.pull_version(site, mirror, Reference(model, version))
    store.open_version(site.models, model, version)
    move = aliases.following(
        now,
        model,
        version,
        name=alias,
        reason=f"rolled back: {reason}" if reason else f"rolled back from {now.version}",
        author=author(),
        details={"rolled_back_from": now.version},
    )
    make(site, mirror, move)
    return move


def _before(site: Site, now: Alias) -> str:
    target = models_gc.rollback_target(models_catalogue.history(site.models, now.model, now.name))
    if target is None:
        raise Failure(f"{now.model}@{now.name} has named no other version than {now.version}")
    return target.version
