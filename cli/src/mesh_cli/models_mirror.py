"""The store and its mirror at MESH_MODELS_URL."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

from mesh_cli import models_catalogue
from mesh_cli.failures import Failure
from mesh_cli.models_catalogue import Reference
from mesh_cli.models_text import size
from mesh_cli.progress import Step
from mesh_cli.settings import Site
from meshkit import aliases, mirror_follow
from meshkit.aliases import Alias
from meshkit.mirror import Mirror, Progress

URL: Final = "MESH_MODELS_URL"
FOLLOW_EVERY_S: Final = 2.0


def configured(site: Site) -> Mirror | None:
    """The mirror of this site; None where it has none.

    Raises:
        MirrorError: the address can't be used.
    """
    url = site.environment.get(URL)
    return Mirror(url) if url else None


def required(site: Site) -> Mirror:
    """The mirror of this site.

    Raises:
        Failure: it has none.
    """
    mirror = configured(site)
    if mirror is None:
        raise Failure(
            f"there is no mirror: set {URL} to a folder, an s3://bucket/prefix or the like"
        )
    return mirror


def push_version(site: Site, mirror: Mirror, reference: Reference, *, again: bool = False) -> bool:
    """Copies a version into the mirror; False when it was there."""
    with _told(f"push {reference}") as progress:
        return mirror.push(
            site.models, reference.model, reference.version, progress=progress, again=again
        )


def pull_version(site: Site, mirror: Mirror, reference: Reference) -> bool:
    """Copies a version from the mirror; False when it was there."""
    with _told(f"pull {reference}") as progress:
        return mirror.pull(site.models, reference.model, reference.version, progress=progress)


def bring_production(site: Site, model: str) -> None:
    """Brings what is in production elsewhere here, where there is a mirror."""
    if mirror := configured(site):
        pull_alias(site, mirror, model, aliases.PRODUCTION)


def pull_alias(site: Site, mirror: Mirror, model: str, alias: str) -> Alias | None:
    """Brings the moves of an alias here, and the version that it names now."""
    with _told(f"pull {model}@{alias}") as progress:
        return mirror.pull_alias(site.models, model, alias, progress=progress)


def pull_aliases(site: Site, mirror: Mirror, model: str) -> list[str]:
    """Brings every alias of a model here, with the versions they name; says where they point."""
    return [
        f"{model}@{alias} is {model}:{target.version}"
        for alias in mirror.alias_names(model)
        if (target := pull_alias(site, mirror, model, alias))
    ]


def follow(site: Site, mirror: Mirror, model: str | None, say: Callable[[str], None]) -> NoReturn:
    """Brings every move of an alias here as soon as it is made, for as long as it is let.

    A mirror that can't be reached, or a version that can't be had, is said once and tried again.
    """

    def look() -> None:
        for name in [model] if model else mirror.models():
            for alias in mirror.alias_names(name):
                _follow(site, mirror, name, alias, say)

    mirror_follow.follow(look, FOLLOW_EVERY_S, lambda reason: say(f"error: {reason}"))


def _follow(site: Site, mirror: Mirror, model: str, alias: str, say: Callable[[str], None]) -> None:
    before = aliases.numbers(site.models, model, alias)
    target = mirror.pull_alias(site.models, model, alias)
    if target and target.number not in before:
        say(f"{model}@{alias} is {model}:{target.version}")


def push_alias(site: Site, mirror: Mirror, model: str, alias: str, *, again: bool = False) -> Alias:
    """Brings the moves of an alias there that were made without the mirror, with its version."""
    target = models_catalogue.named_by(site.models, model, alias)
    push_version(site, mirror, Reference(model, target.version), again=again)
    with models_catalogue.told():
        mirror.push_alias(site.models, model, alias)
    return target


def push_aliases(site: Site, mirror: Mirror, model: str, *, again: bool = False) -> list[str]:
    """Brings every alias of a model there, with the versions they name; says where they point."""
    names = models_catalogue.alias_names(site.models, model)
    targets = [push_alias(site, mirror, model, name, again=again) for name in names]
    return [f"{model}@{each.name} is {model}:{each.version} in {mirror.url}" for each in targets]


@contextmanager
def _told(title: str) -> Iterator[Progress]:
    """A step that shows how far a copy is."""
    with Step(title, out=sys.stderr) as step, models_catalogue.told():
        yield lambda name, done, whole: step.note(f"{name} {size(done)} of {size(whole)}")
