"""From a request's id to the model that answered, and to all that it was made from."""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mesh_cli import __main__, lifecycle, redis_server
from mesh_cli.failures import Failure
from mesh_cli.settings import REDIS_PORT, Site
from meshkit import aliases, store
from meshkit.errors import Unavailable
from meshkit.lineage import Lineage
from meshkit.lineage_store import LineageStore
from small_versions import MODEL, add_version

RUN = "20260101-000000-aaaaaa"
ANSWER = Lineage(MODEL, RUN, "default", RUN, "local")


@pytest.fixture
def site_with_answers(site: Site, tmp_path: Path) -> Site:
    """A mesh that has answered one request by a version of its store and one by another."""
    record = lifecycle.start(site, [redis_server.program(site)], "mark")
    gone = Lineage(MODEL, "20250101-000000-bbbbbb", "default", "r0", "local")

    async def write() -> None:
        async with LineageStore(f"redis://127.0.0.1:{site.ports[REDIS_PORT]}/0") as kept:
            await kept.write([("known", ANSWER), ("gone", gone)])

    def missing() -> str | None:
        try:
            asyncio.run(write())
        except Unavailable:
            return "redis"
        return None

    lifecycle.wait_ready(site, record, missing, timeout_s=30)
    add_version(site.models, tmp_path / "files", RUN)
    aliases.write(site.models, MODEL, RUN, replaces=None)
    return site


def lineage(site: Site, *words: str) -> str:
    environment = site.process_environment()
    result = CliRunner().invoke(__main__.app, ["lineage", *words], env=environment)
    if result.exception:
        raise result.exception
    return result.stdout


def test_it_leads_to_the_version_the_code_and_the_data(site_with_answers: Site) -> None:
    rows = [line.split() for line in lineage(site_with_answers, "known").splitlines()]
    for row in (
        ["request", "known"],
        ["by", "deployment", "local,", "variant", "default"],
        ["version", f"classifier:{RUN}"],
        ["aliases", "production"],
        ["run", RUN],
        ["code", "c0ffee"],
        ["setting", "recipe", "quick"],
        ["setting", "seed", "20"],
        ["source", "rated-texts", "1"],
        ["texts.gz", "ab" * 32],
    ):
        assert row in rows
    (answer,) = json.loads(lineage(site_with_answers, "known", "--json"))["answers"]
    assert answer["lineage"]["version"] == RUN
    assert answer["sources"]["rated-texts"]["files"] == {"texts.gz": "ab" * 32}
    version = store.open_version(site_with_answers.models, MODEL, RUN)
    assert answer["files"] == dict(version.hashes)
    assert answer["fault"] is None


def test_a_version_that_is_not_here_is_named_with_the_remedy(site_with_answers: Site) -> None:
    page = lineage(site_with_answers, "gone")
    assert "classifier:20250101-000000-bbbbbb is not in the store" in page
    assert "mesh models pull classifier:20250101-000000-bbbbbb may bring it" in page


def test_an_answer_that_nobody_knows_says_for_how_long_one_is_known(
    site_with_answers: Site,
) -> None:
    with pytest.raises(Failure, match=r"no answer to 'unknown' is known: .* for 1 day"):
        lineage(site_with_answers, "unknown")


def test_a_redis_that_is_gone_is_said_so(site: Site) -> None:
    with pytest.raises(Unavailable, match="can't be reached"):
        lineage(site, "known")
