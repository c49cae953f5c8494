"""`mesh usage` against a real Redis, and counters that a small server shows."""

import asyncio
import csv
import io
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from conftest import redis_url
from mesh_cli import __main__, reconcile
from mesh_cli.failures import Failure
from mesh_cli.settings import Site
from meshkit.errors import InvalidArgument
from meshkit.ledger import Ledger, Row, Source, Usage, Writer

TODAY = datetime.now(UTC).date()
YESTERDAY = TODAY - timedelta(days=1)
ROW = Row(TODAY, "shop", "a1", "llm", Source.LOCAL)
USE = Usage(2, 100, 40, 20, 1_500_000_000, 2500, 0, 30_000)
ROWS = {
    ROW: USE,
    Row(YESTERDAY, "shop", "a1", "llm", Source.LOCAL): USE,
    Row(TODAY, "shop", "b2", "llm", Source.REMOTE): USE,
    Row(TODAY, "other", "c3", "embedder", Source.LOCAL): USE,
    Row(TODAY, "shop", "a1", "llm", Source.CACHED): Usage(1, 100, 40, 20),
    Row(TODAY - timedelta(days=40), "shop", "a1", "llm", Source.LOCAL): USE,
}


def write(site: Site, rows: Mapping[Row, Usage], *writers: Writer) -> None:
    async def run() -> None:
        async with Ledger(redis_url(site), timeout_s=10) as ledger:
            for each in writers:
                await ledger.register(each)
            await ledger.write(writers[0].id if writers else "w", 1, rows)

    asyncio.run(run())


def usage(site: Site, *words: str) -> Result:
    environment = site.process_environment()
    result = CliRunner().invoke(__main__.app, ["usage", *words], env=environment)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_usage_is_summed_as_it_is_asked(served: Site) -> None:
    write(served, ROWS)
    lines = usage(served).stdout.splitlines()
    assert lines[0].split()[:4] == ["TENANT", "KEY", "MODEL", "SOURCE"]
    assert lines[1].split() == [
        *("other", "c3", "embedder", "local"),
        *("2", "100", "40", "20", "2.5", "0.0", "1.50", "0.00003"),
    ]
    # Of the last 30 days: two of the three.
    assert "shop    a1   llm       local   4         200" in lines[3]
    assert lines[-1].split()[:3] == ["total", "9", "500"]

    by_model = json.loads(usage(served, "--by", "model", "--json").stdout)["usage"]
    assert [(each["model"], each["source"], each["requests"]) for each in by_model] == [
        ("embedder", "local", 2),
        ("llm", "cached", 1),
        ("llm", "local", 4),
        ("llm", "remote", 2),
    ]
    long_ago = (TODAY - timedelta(days=60)).isoformat()
    days = json.loads(
        usage(served, "--by", "day", "--from", long_ago, "--key", "a1", "--json").stdout
    )["usage"]
    assert len({each["day"] for each in days}) == 3


def test_csv_has_the_numbers_whole(served: Site) -> None:
    write(served, ROWS)
    text = usage(served, "--by", "day", "--by", "key", "--csv", "--tenant", "shop").stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == [
        *("day", "key", "source", "requests", "prompt_tokens", "cached_tokens"),
        *("completion_tokens", "charged_nanos", "cpu_ms", "gpu_ms", "compute_nanos"),
    ]
    assert rows[0]["day"] == YESTERDAY.isoformat()
    assert rows[0]["charged_nanos"] == "1500000000"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--from", "yesterday"], "--from is 'yesterday'"),
        (["--from", "2026-02-02", "--to", "2026-02-01"], "put it before"),
        (["--from", "2020-01-01"], "the ledger keeps 400 days"),
    ],
)
def test_days_that_make_no_sense_are_refused(site: Site, words: list[str], why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        usage(site, *words)


def test_a_redis_that_is_away_is_said_in_one_line(site: Site) -> None:
    with pytest.raises(Failure, match="the Redis that keeps the ledger does not answer"):
        usage(site)


@contextmanager
def counters(page: str) -> Iterator[str]:
    """Where a page of metrics is."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/metrics"
        finally:
            server.shutdown()
            thread.join()


def page(prompt: int, answer: int, cached: int, engine: str = "") -> str:
    labels = 'gen_ai_operation_name="chat",gen_ai_request_model="llm",gen_ai_token_type='
    return (
        f'mesh_tokens_total{{{labels}"input"}} {prompt - 1}.0\n'
        f'mesh_tokens_total{{{labels.replace("chat", "text_completion")}"input"}} 1.0\n'
        f'mesh_tokens_total{{{labels}"output"}} {answer}.0\n'
        f'mesh_tokens_total{{{labels}"cached"}} {cached}.0\n'
        f"mesh_ledger_waiting 0.0\n{engine}"
    )


def engine(prompt: int, answer: int, restarts: int = 0) -> str:
    """vLLM's own counters, in the halves of two engines, and how often they were started again."""
    lines = []
    for name, count in (("prompt", prompt), ("generation", answer)):
        for number in (0, 1):
            part = count // 2 + number * (count % 2)
            labels = f'engine="{number}",model_name="llm"'
            lines.append(f"vllm:{name}_tokens_total{{{labels}}} {part}.0")
            lines.append(f"vllm:{name}_tokens_created{{{labels}}} 1.7e+09")
    lines.append(f'vllm:prompt_tokens_by_source_total{{engine="0",source="local"}} {prompt}.0')
    restarted = f'mesh_engine_restarts_total{{mesh_restart_reason="died"}} {restarts}.0'
    return "\n".join([*lines, *([restarted] if restarts else []), ""])


def writer(name: str, url: str, minutes_ago: int = 0) -> Writer:
    started = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=minutes_ago)
    return Writer(name, "llm", url, started)


def test_a_ledger_that_agrees_is_exact(served: Site) -> None:
    with counters(page(100, 20, 40, engine(100, 20))) as url:
        write(served, {ROW: USE}, writer("w", url), writer("before", url, minutes_ago=5))
        result = usage(served, "reconcile")
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert [line[3:] for line in lines if line[2] == "local"] == [
        ["input", "100", "100", "100", "exact"],
        ["cached", "40", "40", "-", "exact"],
        ["output", "20", "20", "20", "exact"],
    ]
    assert [line[-2:] for line in lines if line[2] == "-"] == [["has", "ended"]] * 3


def test_a_ledger_that_differs_fails(served: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "_PATIENCE_S", 0.5)
    with counters(page(103, 20, 40)) as url:
        write(served, {ROW: USE}, writer("w", url))
        with pytest.raises(Failure, match="differ"):
            usage(served, "reconcile")


def test_what_an_engine_has_made_beyond_what_is_written_is_told(served: Site) -> None:
    with counters(page(100, 20, 40, engine(131, 20))) as url:
        write(served, {ROW: USE}, writer("w", url))
        result = usage(served, "reconcile")
        (line,) = json.loads(usage(served, "reconcile", "--json").stdout)["processes"]
    assert result.exit_code == 0
    states = [row.partition("input")[2].split() for row in result.stdout.splitlines()]
    assert ["100", "100", "131", "exact,", "+31", "by", "engine"] in states
    assert "exact, +0" not in result.stdout
    assert (line["engine"], line["engine_restarted"]) == ({"input": 131, "output": 20}, False)


def test_an_engine_that_has_made_less_than_is_written_fails(
    served: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "_PATIENCE_S", 0.5)
    with counters(page(100, 20, 40, engine(130, 19))) as url:
        write(served, {ROW: USE}, writer("w", url))
        with pytest.raises(Failure, match="differ"):
            usage(served, "reconcile")


def test_an_engine_that_was_started_again_is_not_compared(served: Site) -> None:
    with counters(page(100, 20, 40, engine(7, 5, restarts=1))) as url:
        write(served, {ROW: USE}, writer("w", url))
        result = usage(served, "reconcile")
    assert result.exit_code == 0
    assert result.stdout.count("exact, engine was started again") == 2


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/metrics", "file:///etc/hostname"])
def test_a_process_that_does_not_answer_is_told_and_no_difference(served: Site, url: str) -> None:
    write(served, {ROW: USE}, writer("w", url))
    (line,) = json.loads(usage(served, "reconcile", "--json").stdout)["processes"]
    assert line["counted"] is None
    assert "can't be asked" in line["fault"]
