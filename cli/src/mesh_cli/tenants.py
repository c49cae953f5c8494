"""`mesh tenants`: limits that all keys of a tenant share."""

from typing import Annotated

import typer

from mesh_cli.key_access import Budgets, TokenRates, with_store
from mesh_cli.models_text import as_json, table
from mesh_cli.settings import Site
from meshkit.allowance import Allowance
from meshkit.key_records import Tenant
from meshkit.rates import Rate

app = typer.Typer(
    help="Set and show the limits that the keys of a tenant share.", no_args_is_help=True
)


@app.command("set")
def set_tenant(
    name: Annotated[str, typer.Argument(help="As its keys name it.")],
    *,
    rate: Annotated[
        str | None,
        typer.Option(
            help="Most requests of all its keys and routes together, such as 6000/m:500; without "
            "it, the gateway's default holds again."
        ),
    ] = None,
    token_rate: TokenRates = None,
    budget: Budgets = None,
) -> None:
    """Set the limits of a tenant; every gateway keeps to them within 30 seconds.

    What is not said is as the gateway's settings have it, whatever was set before.
    """
    allowance = Allowance.parse(token_rate or (), budget or ())
    tenant = Tenant(name, Rate.parse(rate, "--rate") if rate else None, allowance)
    with_store(Site.load(), lambda store: store.set_tenant(tenant))
    typer.echo(
        f"{name} may make {tenant.rate.described if tenant.rate else 'what the gateway allows'}"
    )
    if allowance:
        typer.echo(f"{name} may use {allowance.described}")


@app.command("list")
def list_tenants(
    *, json: Annotated[bool, typer.Option("--json", help="For programs.")] = False
) -> None:
    """Show the tenants that have limits of their own."""
    tenants = with_store(Site.load(), lambda store: store.list_tenants())
    if json:
        content = [
            {
                "name": each.name,
                "rate": str(each.rate) if each.rate else None,
                "tokens_and_money": each.allowance.described or None,
            }
            for each in tenants
        ]
        typer.echo(as_json({"tenants": content}))
    else:
        rows = [
            (
                each.name,
                each.rate.described if each.rate else "-",
                each.allowance.described or "-",
            )
            for each in tenants
        ]
        typer.echo(table(("TENANT", "MAY MAKE", "MAY USE"), rows))
