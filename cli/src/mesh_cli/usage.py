"""`mesh usage`: who has used how much of which model, and what it cost."""

import asyncio
import csv
import io
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from mesh_cli import reconcile
from mesh_cli.failures import Failure
from mesh_cli.models_text import as_json, table
from mesh_cli.settings import Site
from meshkit import money
from meshkit.errors import InvalidArgument, Unavailable
from meshkit.ledger import KEPT, Ledger, Row, Usage
from meshkit.prices import Prices

T = TypeVar("T")

app = typer.Typer(
    help="Show what was used, by key, tenant, day and model, and compare it with the engines.",
    invoke_without_command=True,
)
_DAYS: Final = 30
_ALL: Final = "all"


class By(StrEnum):
    """What rows are kept apart by."""

    DAY = "day"
    TENANT = "tenant"
    KEY = "key"
    MODEL = "model"


@app.callback()
def show(
    context: typer.Context,
    *,
    by: Annotated[
        list[By] | None,
        typer.Option(help="What to keep apart; several times for several.", show_default=False),
    ] = None,
    first: Annotated[
        str | None, typer.Option("--from", metavar="DAY", help="Such as 2026-11-01.")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="DAY", help="With that day.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Of this tenant alone.")] = None,
    key: Annotated[str | None, typer.Option(metavar="ID", help="Of this key alone.")] = None,
    csv_: Annotated[bool, typer.Option("--csv", help="For spreadsheets.")] = False,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show what was used in the last 30 days, by tenant, key and model, or as asked.

    Answers of the mesh's own engines, of upstreams (remote) and from the prompt cache (cached) are
    always apart.
    """
    if context.invoked_subcommand:
        return
    site = Site.load()
    today = datetime.now(UTC).date()
    until = _day(last, "--to") if last else today
    since = _day(first, "--from") if first else until - timedelta(days=_DAYS - 1)
    _check_days(since, until)
    rows = with_ledger(site, lambda ledger: ledger.read(since, until))
    kept = {
        row: usage
        for row, usage in rows.items()
        if tenant in (None, row.tenant) and key in (None, row.key_id)
    }
    wanted = by or [By.TENANT, By.KEY, By.MODEL]
    summed = _summed(kept, wanted)
    if csv_:
        typer.echo(_csv(summed, wanted), nl=False)
    elif json:
        typer.echo(as_json({"usage": [_json(row, usage, wanted) for row, usage in summed]}))
    else:
        typer.echo(_table(summed, wanted, _currency(site)))


@app.command("reconcile")
def reconcile_command(
    *, json: Annotated[bool, typer.Option("--json", help="For programs.")] = False
) -> None:
    """Compare the ledger with the counters of every process that writes it; fails if they differ.

    What a process has counted since it started must be what it has written, to the token. Where its
    engine counts too (vLLM does), that must have made as much at least; what it has made beyond is
    told.
    """
    lines = with_ledger(Site.load(), reconcile.compare)
    if json:
        typer.echo(as_json({"processes": [each.to_json() for each in lines]}))
    else:
        heads = ("SERVICE", "PROCESS", "SOURCE", "TOKENS", "LEDGER", "COUNTED", "ENGINE", "STATE")
        typer.echo(table(heads, [row for each in lines for row in each.rows()]))
    if any(each.differs for each in lines):
        raise Failure("the ledger and the counters differ")


def with_ledger(site: Site, use: Callable[[Ledger], Awaitable[T]]) -> T:
    """Does something with the ledger of a mesh.

    Raises:
        Failure: its Redis does not answer.
    """

    async def run() -> T:
        async with Ledger(site.process_environment()["MESH_REDIS_URL"], timeout_s=10) as ledger:
            return await use(ledger)

    try:
        return asyncio.run(run())
    except Unavailable:
        raise Failure(
            "the Redis that keeps the ledger does not answer: make up starts one, or "
            "MESH_REDIS_URL names another"
        ) from None


def _day(text: str, option: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidArgument.of_field(
            option, f"is {text[:40]!r} and should be a day such as 2026-11-01"
        ) from None


def _check_days(since: date, until: date) -> None:
    if since > until:
        raise InvalidArgument.of_field("--from", f"is {since}, after {until}; put it before")
    if until - since > KEPT:
        raise InvalidArgument.of_field(
            "--from", f"is {since}; the ledger keeps {KEPT.days} days, so ask for fewer"
        )


def _summed(rows: Mapping[Row, Usage], by: Sequence[By]) -> list[tuple[Row, Usage]]:
    """The rows with what is not to be kept apart added up, in order."""
    sums: dict[Row, Usage] = {}
    for row, usage in rows.items():
        kept = replace(
            row,
            day=row.day if By.DAY in by else date.min,
            tenant=row.tenant if By.TENANT in by else _ALL,
            key_id=row.key_id if By.KEY in by else _ALL,
            model=row.model if By.MODEL in by else _ALL,
        )
        sums[kept] = sums.get(kept, Usage()) + usage
    return sorted(sums.items())


def _names(row: Row, by: Iterable[By]) -> dict[str, str]:
    values = {
        By.DAY: row.day.isoformat(),
        By.TENANT: row.tenant,
        By.KEY: row.key_id,
        By.MODEL: row.model,
    }
    return {each.value: values[each] for each in By if each in by} | {"source": row.source.value}


def _json(row: Row, usage: Usage, by: Sequence[By]) -> dict[str, Any]:
    return {**_names(row, by), **asdict(usage)}


def _csv(rows: Sequence[tuple[Row, Usage]], by: Sequence[By]) -> str:
    out = io.StringIO()
    heads = [*(each.value for each in By if each in by), "source", *asdict(Usage())]
    writer = csv.DictWriter(out, heads, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_json(row, usage, by) for row, usage in rows)
    return out.getvalue()


def _table(rows: Sequence[tuple[Row, Usage]], by: Sequence[By], currency: str) -> str:
    heads = (
        *(each.value.upper() for each in By if each in by),
        *("SOURCE", "REQUESTS", "PROMPT", "CACHED", "COMPLETION", "CPU S", "GPU S"),
        *(f"CHARGED {currency}", f"COMPUTE {currency}"),
    )
    total = sum((usage for _, usage in rows), Usage())
    cells = [(*_names(row, by).values(), *_numbers(usage)) for row, usage in rows]
    blanks = [""] * len([each for each in By if each in by])
    return table(heads, [*cells, (*blanks, "total", *_numbers(total))])


def _numbers(usage: Usage) -> tuple[object, ...]:
    return (
        usage.requests,
        usage.prompt_tokens,
        usage.cached_tokens,
        usage.completion_tokens,
        f"{usage.cpu_ms / 1000:.1f}",
        f"{usage.gpu_ms / 1000:.1f}",
        money.described(usage.charged_nanos),
        money.described(usage.compute_nanos),
    )


def _currency(site: Site) -> str:
    path = site.process_environment().get("MESH_PRICES_PATH")
    return Prices.load(Path(path) if path else None).currency
