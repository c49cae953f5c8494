"""`mesh keys`: the API keys of a mesh, from their making to their end."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer

from mesh_cli.key_access import Budgets, TokenRates, hashing_keys, with_store
from mesh_cli.models_text import as_json, columns, table
from mesh_cli.settings import Site
from meshkit.allowance import Allowance
from meshkit.errors import InvalidArgument
from meshkit.key_records import Act, Grant, KeyRecord
from meshkit.key_store import KeyStore
from meshkit.keys import ApiKey
from meshkit.rates import Rate
from meshkit.scopes import SCOPES, SERVICES

app = typer.Typer(help="Make, show, rotate and revoke API keys.", no_args_is_help=True)

# As many as are kept.
_ALL_ACTS: Final = 200_000
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
Id = Annotated[str, typer.Argument(metavar="ID", help="As `mesh keys list` shows it.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for, such as checkout-backend.")],
    *,
    tenant: Annotated[str, typer.Option(help="Whom the calls made with it belong to.")] = "local",
    scope: Annotated[
        list[str] | None,
        typer.Option(help=f"What it may do ({', '.join(sorted(SCOPES))}); everything by default."),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(help="Most requests on each route, such as 600/m, or 600/m:50 (50 at once)."),
    ] = None,
    max_concurrent: Annotated[
        int | None, typer.Option(help="Most requests in flight at once.")
    ] = None,
    token_rate: TokenRates = None,
    budget: Budgets = None,
    expires: Annotated[
        str | None, typer.Option(help="After how long it ends, such as 90d or 12h.")
    ] = None,
) -> None:
    """Make a key and show it, once."""
    site = Site.load()
    grant = Grant(
        name=name,
        tenant=tenant,
        scopes=frozenset(scope or SERVICES),
        rate=Rate.parse(rate, "--rate") if rate else None,
        max_concurrent=max_concurrent,
        expires_at=datetime.now(UTC) + _duration(expires, "--expires") if expires else None,
        allowance=Allowance.parse(token_rate or (), budget or ()),
    )
    hashing_key = hashing_keys(site).current
    _show_once(*with_store(site, lambda store: store.create(hashing_key, grant)))


@app.command("list")
def list_keys(*, json: Json = False) -> None:
    """Show every key: its public id, and what is known of it."""

    async def read(store: KeyStore) -> tuple[list[KeyRecord], dict[str, datetime]]:
        records = await store.list()
        return records, await store.last_used([record.id for record in records])

    records, used = with_store(Site.load(), read)
    if json:
        typer.echo(as_json({"keys": [_json(each, used.get(each.id)) for each in records]}))
        return
    heads = ("ID", "NAME", "TENANT", "SCOPES", "RATE", "MADE (UTC)", "LAST USED (UTC)", "STATE")
    typer.echo(table(heads, [_row(each, used.get(each.id)) for each in records]))


@app.command()
def show(key_id: Id, *, json: Json = False) -> None:
    """Show all that is known of a key, and what was done to it."""

    async def read(store: KeyStore) -> tuple[KeyRecord, datetime | None, list[Act]]:
        record = await store.existing(key_id)
        acts = [
            act
            for act in await store.acts(_ALL_ACTS)
            if key_id in (act.subject, act.details.get("replaces"))
        ]
        return record, (await store.last_used([key_id])).get(key_id), acts

    record, used, acts = with_store(Site.load(), read)
    content = _json(record, used)
    if json:
        typer.echo(as_json({**content, "acts": [_act_json(act) for act in acts]}))
        return
    typer.echo(columns((name, "-" if value is None else value) for name, value in content.items()))
    typer.echo("\n" + _acts(acts))


@app.command()
def revoke(key_id: Id) -> None:
    """Make a key invalid; every gateway refuses it within 30 seconds."""
    record = with_store(Site.load(), lambda store: store.revoke(key_id))
    typer.echo(
        f"key {record.id} ({record.grant.name}) is revoked since {record.revoked_at:%F %T %Z}"
    )


@app.command()
def rotate(
    key_id: Id,
    *,
    grace: Annotated[str, typer.Option(help="How long the old one stays valid.")] = "1d",
) -> None:
    """Make a key in the place of another, and show it, once; the old one ends after a while."""
    site = Site.load()
    time = _duration(grace, "--grace")
    hashing_key = hashing_keys(site).current
    _show_once(*with_store(site, lambda store: store.rotate(hashing_key, key_id, time)))
    typer.echo(f"the old key {key_id} stays valid for {grace}", err=True)


@app.command("rotate-hashing-key")
def rotate_hashing_key(
    *,
    prune: Annotated[
        bool, typer.Option("--prune", help="Only take out those that no valid key needs.")
    ] = False,
) -> None:
    """Hash keys with a new secret from now on; those there are follow when they are next used."""
    site = Site.load()
    keys = hashing_keys(site)
    if prune:
        records = with_store(site, lambda store: store.list())
        needed = {each.hashing_key for each in records if _state(each) != "revoked"}
        kept = keys.keep(site.hashing_key, needed)
        action, said = (
            "prune-hashing-keys",
            f"{len(keys.all) - len(kept.all)} hashing keys are gone",
        )
    else:
        kept = keys.rotate(site.hashing_key)
        action, said = "rotate-hashing-key", f"keys are made with {kept.current.id} from now on"
    details = {"hashing_keys": [each.id for each in kept.all]}
    with_store(site, lambda store: store.note(action, kept.current.id, details))
    typer.echo(f"{said}; give every gateway the file {site.hashing_key} where they do not share it")


@app.command()
def audit(
    *,
    count: Annotated[int, typer.Option(min=1, help="Of the latest acts.")] = 50,
    json: Json = False,
) -> None:
    """Show what was done to keys and tenants: when, by whom, with which values."""
    acts = with_store(Site.load(), lambda store: store.acts(count))
    typer.echo(as_json({"acts": [_act_json(act) for act in acts]}) if json else _acts(acts))


def _show_once(key: ApiKey, record: KeyRecord) -> None:
    typer.echo(key.text)
    typer.echo(
        f"key {record.id} of {record.grant.tenant} may call {_scopes(record)}; keep it: it is "
        f"stored nowhere and is not shown again (mesh keys revoke {record.id} ends it)",
        err=True,
    )


def _duration(text: str, field: str) -> timedelta:
    match = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", text)
    if match is None:
        raise InvalidArgument.of_field(
            field, f"is {text[:40]!r} and should be a time such as 30m, 12h or 90d"
        )
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


def _state(record: KeyRecord) -> str:
    if record.revoked_at:
        return "revoked"
    expires_at = record.grant.expires_at
    return "expired" if expires_at and expires_at <= datetime.now(UTC) else "valid"


def _row(record: KeyRecord, used: datetime | None) -> tuple[str, ...]:
    grant = record.grant
    return (
        record.id,
        grant.name,
        grant.tenant,
        _scopes(record),
        str(grant.rate) if grant.rate else "-",
        f"{record.created_at:%F %T}",
        f"{used:%F %T}" if used else "-",
        _state(record),
    )


def _json(record: KeyRecord, used: datetime | None) -> dict[str, Any]:
    grant = record.grant
    return {
        "id": record.id,
        "state": _state(record),
        "name": grant.name,
        "tenant": grant.tenant,
        "scopes": sorted(grant.scopes),
        "rate": str(grant.rate) if grant.rate else None,
        "max_concurrent": grant.max_concurrent,
        "tokens_and_money": grant.allowance.described or None,
        "created_at": record.created_at.isoformat(),
        "expires_at": grant.expires_at.isoformat() if grant.expires_at else None,
        "revoked_at": record.revoked_at.isoformat() if record.revoked_at else None,
        "last_used_at": used.isoformat() if used else None,
        "replaces": record.replaces,
        "hashing_key": record.hashing_key,
    }


def _act_json(act: Act) -> dict[str, Any]:
    return {**asdict(act), "when": act.when.isoformat()}


def _acts(acts: Sequence[Act]) -> str:
    rows = [
        (
            f"{act.when:%F %T}",
            act.actor,
            act.action,
            act.subject,
            ", ".join(f"{name}={value}" for name, value in act.details.items()),
        )
        for act in acts
    ]
    return table(("WHEN (UTC)", "WHO", "WHAT", "KEY OR TENANT", "WITH"), rows)


def _scopes(record: KeyRecord) -> str:
    return ",".join(sorted(record.grant.scopes))
