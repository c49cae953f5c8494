"""`mesh models`: what the store has, where its aliases point, and how versions come and go."""

import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from mesh_cli import (
    models,
    models_archive,
    models_catalogue,
    models_gc,
    models_mirror,
    models_text,
)
from mesh_cli.failures import Failure
from mesh_cli.models import app
from mesh_cli.models_catalogue import Reference
from mesh_cli.progress import Step
from mesh_cli.promotion import moves
from mesh_cli.promotion.outcomes import Outcome, failed
from mesh_cli.settings import Site
from meshkit import aliases, store

__all__ = ["app"]

Named = Annotated[
    str,
    typer.Argument(
        metavar="VERSION",
        help="classifier:20261122-031335-30b7c4 (the beginning will do), classifier@production, "
        "or classifier for what is in production.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Replaces = Annotated[
    int | None,
    typer.Option(
        metavar="NUMBER",
        min=0,
        help="Only if the alias is still at this number of its history; 0 if it was never set.",
    ),
]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why, for who reads the history.")]


@app.command("list")
def list_versions(
    model: Annotated[str | None, typer.Argument(help="Only of this model.")] = None,
    *,
    json: Json = False,
) -> None:
    """Show every version in the store."""
    home = Site.load().models
    chosen = [model] if model else models_catalogue.models(home)
    entries = [entry for each in chosen for entry in models_catalogue.entries(home, each)]
    if json:
        typer.echo(models_text.as_json(models_text.listed_json(entries)))
    elif entries:
        typer.echo(models_text.listed(entries))
    else:
        typer.echo(f"There is no version in {home}; mesh models train classifier makes one.")


@app.command()
def show(
    version: Named,
    *,
    verify: Annotated[bool, typer.Option("--verify", help="Hash every file, too.")] = False,
    json: Json = False,
) -> None:
    """Show all that is known of a version, what serves its model, and how its aliases moved."""
    # Calls to a service need more libraries than the rest of the command line.
    from mesh_cli import models_serving  # noqa: PLC0415

    site = Site.load()
    reference = models_catalogue.find(site.models, version)
    opened = (store.open_version if verify else store.read_version)(
        site.models, reference.model, reference.version
    )
    replicas = models_serving.ask(site, reference.model)
    if json:
        content = models_text.described_json(site.models, opened, replicas)
        typer.echo(models_text.as_json(content))
    else:
        typer.echo(models_text.described(site.models, opened, replicas))


@app.command()
def diff(old: Named, new: Named, *, json: Json = False) -> None:
    """Show what differs between two versions: metrics, settings, sources, code."""
    home = Site.load().models
    first, second = (models_catalogue.find(home, each) for each in (old, new))
    before, after = (store.read_version(home, each.model, each.version) for each in (first, second))
    if json:
        typer.echo(models_text.as_json(models_text.compared_json(before, after)))
    else:
        typer.echo(models_text.compared(before, after))


@app.command()
def report(
    version: Named,
    *,
    page: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write it.")] = None,
    card: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the model card, too, in Markdown.")
    ] = None,
) -> None:
    """Write what was measured of a version as a page of HTML, with the plots to judge it by."""
    site = Site.load()
    reference = models_catalogue.find(site.models, version)
    name = f"{reference.model}-{reference.version}.html"
    target = (page or site.state / "reports" / name).absolute()
    options = ["--version", reference.version, "--page", str(target)]
    if card:
        options += ["--card", str(card.absolute())]
    models.report(site, reference.model, options)
    typer.echo(f"The report of {reference}: {target.as_uri()}")


@app.command()
def evaluate(
    version: Named,
    *,
    page: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write it.")] = None,
    no_compile: Annotated[
        bool, typer.Option("--no-compile", help="Start the engine sooner; it answers slower.")
    ] = False,
) -> None:
    """Measure a version as it is served, and in quantised forms, and write a page of Markdown.

    Takes tens of minutes, and the memory that serving the model takes.
    """
    site = Site.load()
    reference = models_catalogue.find(site.models, version)
    name = f"{reference.model}-{reference.version}-evaluation.md"
    target = (page or site.state / "reports" / name).absolute()
    options = ["--version", reference.version, "--page", str(target)]
    models.evaluate(site, reference.model, [*options, *(["--no-compile"] if no_compile else [])])
    typer.echo(f"The evaluation of {reference}: {target.as_uri()}")


@app.command()
def promote(
    version: Named,
    *,
    alias: Annotated[str, typer.Option(help="What to move to it.")] = aliases.PRODUCTION,
    reason: Reason = "",
    force: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="Promote though a gate fails; this is kept."),
    ] = None,
    replaces: Replaces = None,
    json: Json = False,
) -> None:
    """Run every gate on a version and, where none fails, move an alias to it."""
    # Calls to a service need more libraries than the rest of the command line.
    from mesh_cli.promotion import promote as promotion  # noqa: PLC0415

    if force is not None and not force.strip():
        raise Failure("--force needs a reason, since it is kept in the history of the alias")
    site = Site.load()
    reference = models_catalogue.find(site.models, version)
    wish = promotion.Wish(reference, alias, reason, force or "", replaces)
    result = promotion.promote(site, wish)
    if json:
        typer.echo(
            models_text.as_json(
                {
                    "promoted": result.move is not None,
                    "version": str(reference),
                    "alias": f"{reference.model}@{alias}",
                    "number": result.move.number if result.move else None,
                    "gates": [outcome.to_json() for outcome in result.outcomes],
                }
            )
        )
    else:
        typer.echo(_gates(result.outcomes))
    if result.move is None:
        names = ", ".join(outcome.gate for outcome in failed(result.outcomes))
        raise Failure(
            f"{reference} is not promoted, it fails: {names} (--force REASON promotes it anyway)"
        )
    if not json:
        typer.echo(f"\n{reference.model}@{alias} is {reference} now ({result.move.reason}).")


@app.command()
def rollback(
    model: Annotated[str, typer.Argument(help="classifier, or classifier@ALIAS.")],
    *,
    to: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Another one that the alias has named.")
    ] = None,
    reason: Reason = "",
    replaces: Replaces = None,
) -> None:
    """Point an alias at the version that it named before this one."""
    site = Site.load()
    name, _, alias = model.partition("@")
    move = moves.roll_back(
        site, name, alias or aliases.PRODUCTION, to=to, reason=reason, replaces=replaces
    )
    typer.echo(f"{name}@{move.name} is {name}:{move.version} again ({move.reason}).")


@app.command()
def export(
    version: Named,
    target: Annotated[Path | None, typer.Argument(metavar="FILE", help="A new .zip file.")] = None,
) -> None:
    """Write a version into one file; the same version always gives the same bytes."""
    home = Site.load().models
    reference = models_catalogue.find(home, version)
    path = target or Path(f"{reference.model}-{reference.version}.zip")
    with Step(f"export {reference}", out=sys.stderr) as step:
        size = models_archive.write(home, reference, path, step.note)
    typer.echo(f"{path} holds {reference}, {models_text.size(size)}.")


@app.command("import")
def import_version(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="What `export` has written.")],
    *,
    max_gb: Annotated[float, typer.Option(help="Largest archive, in 10^9 bytes.", min=0)] = (
        models_archive.MAX_BYTES / 10**9
    ),
) -> None:
    """Bring a version from a file into the store, once everything in it is verified."""
    home = Site.load().models
    with Step(f"import {source}", out=sys.stderr) as step:
        reference = models_archive.read(home, source, step.note, max_bytes=int(max_gb * 10**9))
    typer.echo(f"{reference} is in the store; mesh models promote {reference} puts it to work.")


@app.command()
def gc(
    *,
    keep: Annotated[int, typer.Option(help="Newest versions of each model to keep.", min=1)] = 5,
    days: Annotated[int, typer.Option(help="Keep versions younger than this.", min=0)] = 14,
    grace_days: Annotated[
        int, typer.Option(help="Keep what an alias has named within this time.", min=0)
    ] = 30,
    yes: Annotated[bool, typer.Option("--yes", help="Remove; without it, only show.")] = False,
    json: Json = False,
) -> None:
    """Show which versions nothing needs any more, and with --yes remove them.

    Never removed is what an alias names, and what it would be rolled back to. The mirror is not
    touched.
    """
    home = Site.load().models
    policy = models_gc.Policy(keep, timedelta(days=days), timedelta(days=grace_days))
    decisions = models_gc.decide(home, policy)
    gone = (
        models_gc.collect(home, policy) if yes else [d.entry for d in decisions if not d.kept_for]
    )
    freed = sum(entry.bytes for entry in gone)
    names = [f"{entry.model}:{entry.version}" for entry in gone]
    if json:
        typer.echo(models_text.as_json({"removed": yes, "versions": names, "bytes": freed}))
        return
    rows = [
        (f"{each.entry.model}:{each.entry.version}", each.kept_for or "goes") for each in decisions
    ]
    typer.echo(models_text.table(("VERSION", "KEPT SINCE IT IS"), rows))
    told = "were removed" if yes else "would be removed; --yes removes them"
    typer.echo(f"\n{len(gone)} versions with {models_text.size(freed)} {told}.")


@app.command()
def push(
    what: Annotated[
        str | None,
        typer.Argument(help="A model or a version; every alias and its version by default."),
    ] = None,
    *,
    again: Annotated[bool, typer.Option("--again", help="Also files that are there.")] = False,
) -> None:
    """Copy aliases with their versions, or one version, to the mirror at MESH_MODELS_URL."""
    site = Site.load()
    mirror = models_mirror.required(site)
    if what and ":" in what:
        reference = models_catalogue.find(site.models, what)
        new = models_mirror.push_version(site, mirror, reference, again=again)
        typer.echo(f"{reference} {'is' if new else 'was already'} in {mirror.url}.")
        return
    _each(
        [what] if what else models_catalogue.models(site.models),
        lambda model: models_mirror.push_aliases(site, mirror, model, again=again),
        f"nothing to push from {site.models}",
    )


@app.command()
def pull(
    what: Annotated[
        str | None,
        typer.Argument(help="A model, or a whole version; every alias and its version by default."),
    ] = None,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on, and bring each promotion as it is made.")
    ] = False,
) -> None:
    """Copy aliases with their versions, or one version, from the mirror at MESH_MODELS_URL."""
    site = Site.load()
    mirror = models_mirror.required(site)
    if follow:
        if what and ":" in what:
            raise Failure(f"--follow takes a model, and {what} is a version")
        models_mirror.follow(site, mirror, what, typer.echo)
    if what and ":" in what:
        model, _, version = what.partition(":")
        with models_catalogue.told():
            new = models_mirror.pull_version(site, mirror, Reference(model, version))
        typer.echo(f"{what} {'is' if new else 'was already'} in {site.models}.")
        return
    _each(
        [what] if what else mirror.models(),
        lambda model: models_mirror.pull_aliases(site, mirror, model),
        f"nothing to pull from {mirror.url}",
    )


def _each(models: Sequence[str], act: Callable[[str], list[str]], nothing: str) -> None:
    lines = [line for model in models for line in act(model)]
    typer.echo("\n".join(lines) if lines else nothing)


def _gates(outcomes: Sequence[Outcome]) -> str:
    """The gates one below the other, each with its verdict and its figures."""
    wide = max(len(outcome.gate) for outcome in outcomes) + 10
    try:
        columns = os.get_terminal_size().columns
    except OSError:  # not a terminal
        columns = 100
    return "\n".join(
        textwrap.fill(
            outcome.summary,
            width=columns,
            initial_indent=f"{outcome.verdict.value:8}{outcome.gate:{wide - 8}}",
            subsequent_indent=" " * wide,
        )
        for outcome in outcomes
    )
