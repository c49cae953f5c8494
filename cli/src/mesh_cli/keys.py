"""`mesh keys`: make, list and revoke the API keys of a mesh."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from mesh_cli.failures import Failure
from mesh_cli.settings import Site
from meshkit.errors import Unavailable
from meshkit.keys import SCOPES, HashingKey, KeyRecord, KeyStore

T = TypeVar("T")

app = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for, such as checkout-backend.")],
    *,
    tenant: Annotated[str, typer.Option(help="Whom the calls made with it belong to.")] = "local",
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help=f"A service that it may call ({', '.join(sorted(SCOPES))}); all by default."
        ),
    ] = None,
) -> None:
    """Make a key and show it, once."""
    site = Site.load()
    hashing_key = HashingKey.load_or_create(site.hashing_key)
    key, record = _with_store(
        site,
        lambda store: store.create(hashing_key, name=name, tenant=tenant, scopes=scope or SCOPES),
    )
    typer.echo(key.text)
    typer.echo(
        f"key {record.id} of {record.tenant} may call {_scopes(record)}; keep it: it is stored "
        f"nowhere and is not shown again (mesh keys revoke {record.id} ends it)",
        err=True,
    )


@app.command("list")
def list_keys() -> None:
    """Show every key: its public id, and what is known of it."""
    records = _with_store(Site.load(), lambda store: store.list())
    rows = [("ID", "NAME", "TENANT", "SCOPES", "MADE", "REVOKED"), *map(_row, records)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `mesh keys list` shows it.")],
) -> None:
    """Make a key invalid; every gateway refuses it within 30 seconds."""
    record = _with_store(Site.load(), lambda store: store.revoke(key_id))
    typer.echo(f"key {record.id} ({record.name}) is revoked since {record.revoked_at:%F %T %Z}")


def _with_store(site: Site, use: Callable[[KeyStore], Awaitable[T]]) -> T:
    async def run() -> T:
        async with KeyStore(site.process_environment()["MESH_REDIS_URL"]) as store:
            return await use(store)

    try:
        return asyncio.run(run())
    except Unavailable:
        raise Failure(
            "the Redis that holds the keys does not answer: make up starts one, or MESH_REDIS_URL "
            "names another"
        ) from None


def _row(record: KeyRecord) -> tuple[str, ...]:
    revoked = f"{record.revoked_at:%F %T}" if record.revoked_at else ""
    made = f"{record.created_at:%F %T}"
    return record.id, record.name, record.tenant, _scopes(record), made, revoked


def _scopes(record: KeyRecord) -> str:
    return ",".join(sorted(record.scopes))
